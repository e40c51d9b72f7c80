// Whether a process may be load-levelled, and who said so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ssi {

struct Enablement {
  enum class Source : std::uint8_t {
    kUser = 1,       // loadlevel enable, disable, run
    kInherited = 2,  // from its parent
    kList = 3,       // its program is on the list
  };

  bool on = false;
  bool pinned = false;  // kUser, off: `runon -p`; no balancer moves it, from a drained node neither
  Source source = Source::kUser;
  std::uint32_t by_uid = 0;  // kUser
  std::string from;      // kInherited: the parent, as users name it; kList: the line of the list
  bool arrived = false;  // decided on another node, came here with the process

  // "enabled by uid 1000", "inherited from 70041", "on the list: /usr/bin/xz", "disabled by uid 0",
  // "pinned by uid 0".
  std::string reason() const;

  // One line without newline, for saving and for going along with a moving process.
  std::string to_line() const;
  static std::optional<Enablement> from_line(std::string_view line);

  bool operator==(const Enablement&) const = default;
};

}  // namespace ssi
