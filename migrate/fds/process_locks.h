// Record locks of a restored process: whether it really has them.
#pragma once

#include <sys/types.h>

#include <vector>

#include "migrate/fds/held_file.h"
#include "ssid/base/result.h"

namespace ssi::fds {

// Pure. Are all of `wanted` among `held`? A kernel makes one range of neighbours.
bool has_all(std::vector<LockRange> held, const std::vector<LockRange>& wanted);

// `pid` in this node's /proc. Any close() of a file drops a process's locks of it: criu's, too.
Result<> check_process_locks(pid_t pid, const HeldFile& wanted, bool at_home);

}  // namespace ssi::fds
