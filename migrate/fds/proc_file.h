// Files of /proc that criu may open again by their names where a process goes, because they tell
// there what they tell whoever opens them there:
//
//   * of one process that moves along: /proc is its realm's, and it has the same PID there;
//   * of the machine: of the node where the process runs, as for any file of these names that it
//     opens later. Process 1 is the realm's, likewise.
//
// Most are made anew when they are read from the beginning. One of which a part was read stays: the
// rest would be of another time and place. One that was read to its end is at its end afterwards,
// however long it is there. Mappings (maps) are the same there, each in a line that is as long: so
// they are read on. Pure, but for being asked for its end.
//
// Rejected: those whose content is a mixture, such as mounts, net/ and cgroup; those of
// /proc/sys/net, which are not the same on each node.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::fds {

struct ProcFile {
  enum class About { kNothingThatMoves, kProcess, kMachine };
  About about = About::kNothingThatMoves;
  pid_t pid = 0;           // of the process, as /proc calls it
  bool of_thread = false;  // of one that is not the first: those are there after the files
  // Its content is made anew when it is read from the beginning, and some of it was read.
  bool begun = false;
  bool mappings = false;  // maps
  bool may_be_written = false;
  bool moves_by_name() const { return about != About::kNothingThatMoves; }
};

// `path` as /proc/PID/fd shows it, `flags` as of open(2), `position` in bytes.
ProcFile parse_proc_file(std::string_view path, std::uint32_t flags, std::uint64_t position);

// Why the processes `moving`, one of which has it, can't take it along; as the end of a sentence.
// None: they can. Asked only if it moves by name.
std::optional<std::string> proc_file_why_not(const ProcFile& file, const std::set<pid_t>& moving);

// Whose directory of /proc, whose name is gone, that was; 0: nobody's. criu starts a process with
// that PID for a moment, to find the directory.
pid_t ended_process(std::string_view path);

// Of `maps`, which is as the process's mappings are now: can who has read `position` bytes of it go
// on at the same one elsewhere? Not within the numbers of a file, nor after a deleted one, which is
// called otherwise there.
bool goes_on_there(std::string_view maps, std::uint64_t position);

// Where criu is to put it that had it at `position`, and had read all before that or to its end.
std::uint64_t position_there(std::string_view path, std::uint64_t position);

// Whether there is nothing more to read from it. Who has it open does not notice: the kernel is
// given no place to put what there is. `pid` in this node's /proc. Any thread.
Result<bool> is_at_its_end(pid_t pid, int number);

}  // namespace ssi::fds
