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
  std::string path{};  // as /proc shows it

  // What criu knows it by, in one mount.
  std::uint32_t criu_number() const { return static_cast<std::uint32_t>(inode); }
};

// Each once. Without those whose name is deleted.
std::vector<DuplexFifo> duplex_fifos(pid_t pid);

// Neither waits, nor is seen by who watches the file for being opened. `pid` has it open.
// Takes so many bytes out of it, or all, as far as they are there.
Result<> empty_fifo(pid_t pid, const DuplexFifo& fifo, std::optional<std::uint32_t> bytes);
// Behind what is in it; makes room for them.
Result<> fill_fifo(pid_t pid, const DuplexFifo& fifo, std::string_view bytes);

}  // namespace ssi::fds
