// Pseudo-terminals both sides of which belong to what moves: criu makes the pair anew, under the
// same number. What is in its queues goes by pty_queues.h.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// By its instance of devpts (as st_dev of what is in that) and its number there.
struct PtyName {
  std::uint64_t devpts = 0;
  int number = -1;
  auto operator<=>(const PtyName&) const = default;
};

// What a master tells. Any thread.
struct PtyMaster {
  PtyName name;
  pid_t session = 0;  // that it controls, in our PID namespace; 0: none
};
// `pts`: the directory of slaves, for a master that is not in devpts itself (/dev/ptmx may be
// such).
Result<PtyMaster> ask_master(int master, const std::string& pts);

// Of a slave.
bool is_pty_slave(const struct stat& st);
PtyName name_of_slave(const struct stat& st);
bool is_exclusive(int slave);  // nobody else may open it (TIOCEXCL)

// The number of a master as /proc/PID/fdinfo tells it; nullopt: it is none.
std::optional<int> number_in(const std::string& fdinfo);

// A pair that moves, at its source.
struct PtyToMove {
  pid_t pid = 0;            // in this node's /proc: somebody who has the master
  int master = -1;          // descriptor
  bool slave_open = false;  // somebody has a slave
  bool operator==(const PtyToMove&) const = default;
};

}  // namespace ssi::fds
