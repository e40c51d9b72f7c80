// Who else reads a pipe. Scans /proc: milliseconds; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace ssi::check {

// The processes, other than those in `except`, that hold the reading end of the pipe.
std::vector<pid_t> pipe_readers(std::uint64_t inode, const std::vector<pid_t>& except);

}  // namespace ssi::check
