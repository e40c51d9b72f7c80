// Inotify instances of processes that move (docs/inotify.md). What becomes the process's descriptor
// is made by ssid at the target, before the freeze, and hears from then on what happens there: at
// home by the kernel, elsewhere by what the view tells (fs/view/watch_teller.h). What it has heard
// until the process stands still is thrown away, as the process has heard it where it was: if it
// has not, it runs on for a moment, and reads.
//
// Rejected: to let criu make it, which begins to listen only when the process is rebuilt, and
// forgets IN_ONESHOT and IN_EXCL_UNLINK; to write events into another instance, which nobody can.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

inline constexpr std::size_t kWatchersMax = 256;  // that move together
inline constexpr std::size_t kWatchesMax = 8192;  // of all of them
inline constexpr std::size_t kNameBytesMax = 1 << 20;

struct Watch {
  int number = 0;  // by which the process knows it
  std::uint64_t inode = 0;
  std::uint32_t mask = 0;
  std::string path{};  // empty: the file is deleted
  bool operator==(const Watch&) const = default;
};

struct Watcher {
  pid_t pid = 0;  // as it sees itself
  int number = 0;
  std::uint32_t flags = 0;  // of open(2)
  std::vector<Watch> watches{};
  bool operator==(const Watcher&) const = default;
};

// A line of an fdinfo: where the file is, as a kernel says it.
struct WatchLine {
  Watch watch;
  std::uint64_t device = 0;  // as st_dev has it
  int handle_type = 0;
  std::string handle;  // of name_to_handle_at(2)
};
std::vector<WatchLine> parse_watches(std::string_view fdinfo);  // pure

// The instances of these processes, in this node's /proc.
bool any_watcher(const std::vector<pid_t>& pids);
// As the end of a sentence, and kRefused: why one stays.
Result<std::vector<Watcher>> watchers_of(const std::vector<pid_t>& pids);
Result<Watcher> watcher_of(pid_t pid, int number);
Result<bool> all_was_read(const std::vector<pid_t>& pids);

// Its files are below `root`; without those that are deleted. kRefused: one is not there.
Result<UniqueFd> make_watcher(int root, const Watcher& wanted);
Result<> add_watch(int inotify, int file, const Watch& wanted);
// What waits to be read is thrown away.
Result<> forget_heard(int inotify);

}  // namespace ssi::fds
