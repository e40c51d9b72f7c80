// Named pipes that a process has open for both directions (O_RDWR), which it takes along when it
// moves (migrate/fds/fifo.h), and what waits in them. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::fds {

struct DuplexFifo {
  int number = -1;  // of a descriptor of it
  dev_t device = 0;
  ino_t inode = 0;
  std::string path{};     // as /proc shows it
  bool nameless = false;  // deleted

  // What criu knows it by, in one mount.
  std::uint32_t criu_number() const { return static_cast<std::uint32_t>(inode); }
};

// Each once.
std::vector<DuplexFifo> duplex_fifos(pid_t pid);

// Neither waits, nor is seen by who watches the file for being opened.
// Takes so many bytes out of it, or all that are there now, as far as nobody else takes them.
Result<> empty_fifo(int fifo, std::optional<std::uint32_t> bytes);
// Behind what is in it, in one piece; makes room for them.
Result<> fill_fifo(int fifo, std::string_view bytes);

}  // namespace ssi::fds
