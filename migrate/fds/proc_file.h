// Files of /proc that tell of one process. criu opens them again by name; where a process goes,
// /proc is its realm's, and it has the same PID there. So one that tells of a process that moves
// along tells of the same process afterwards. Pure.
//
// Rejected: those whose content is not the process's but its machine's, such as mounts, net/ and
// cgroup.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace ssi::fds {

struct ProcFile {
  pid_t pid = 0;           // whom it tells of, as /proc calls him; 0: it is no file that could move
  bool of_thread = false;  // of one that is not the first: those are there after the files
  // Its content is made anew when it is read from the beginning, and some of it was read: the rest
  // would be of another time, when criu had it open.
  bool begun = false;
  bool may_be_written = false;
};

// `path` as /proc/PID/fd shows it, `flags` as of open(2), `position` in bytes.
ProcFile parse_proc_file(std::string_view path, std::uint32_t flags, std::uint64_t position);

// Why the processes `moving`, one of which has it, can't take it along; as the end of a sentence.
// None: they can. Asked only if `pid` is not 0.
std::optional<std::string> proc_file_why_not(const ProcFile& file, const std::set<pid_t>& moving);

}  // namespace ssi::fds
