// The other side of StandIn: what the stand-in itself does. One thread; all signals are blocked, as
// in the realm's init: nobody stops or ends it but the realm's end, or SIGKILL.
#pragma once

#include <cstdint>
#include <string>

#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// Requests carry criu's descriptors beside them; each is answered by kAnswer, in order.
struct StandInMessage {
  enum Kind : std::uint32_t {
    kSpawn = 1,       // -> pid: criu's
    kForeground = 2,  // pid: a guest; value: the criu that rebuilt it
    kAnswer = 3,      // value: errno, or 0
    kChanged = 4,     // by itself: pid and wait status of a child; pid 0: no child is left
  };
  std::uint32_t kind = 0;
  std::int32_t pid = 0;
  std::int32_t value = 0;
};

[[noreturn]] void serve_as_stand_in(UniqueFd socket, const std::string& criu_dir);

}  // namespace ssi::migrate
