// What others do at home to files that processes here watch (inotify), from home to this kernel.
//
// FUSE is told of no watch. But the kernel lets nobody watch a file that it was told of longer ago
// than it believes such things (a second) without asking again; so there can be new watches only
// for a little while after requests, and only then it is looked for them, in /proc, twice a second
// at most: of the callers and of whoever is in their cgroups. While something is watched a thread
// asks home for news, and has the kernel told (watch_teller.h).
//
// What is not told: what happens at home in the second in which a guest begins to watch.
//
// Owned by the view. Any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "fs/view/remote.h"
#include "fs/view/view_node.h"
#include "fs/view/watch_found.h"
#include "fs/view/watch_teller.h"

namespace ssi::fs {

class WatchNews {
 public:
  // Not `on`: nobody is told anything.
  WatchNews(bool on, Remote& remote, NodeIndex& nodes, WatchTeller& teller)
      : on_(on), remote_(remote), nodes_(nodes), teller_(teller) {}
  ~WatchNews() { stop(); }

  // Somebody uses the view: he may watch, too.
  void note_caller(pid_t thread);
  // Looks for watches if it is time. Home hears of those that are new, and that are no more.
  void look(std::uint64_t device);
  // Looks now, at what this process watches, too; and who watches was told of all that had happened
  // when it was called. False: home can't be asked. Any thread.
  bool tell_all(std::uint64_t device, pid_t process);
  void stop();
  std::size_t watched() const;  // nodes

 private:
  struct Watched {
    ViewNodePtr node;
    std::uint32_t mask = 0;
  };

  std::set<pid_t> watchers();
  bool look_now(std::uint64_t device);
  bool tell_home(const Watched& watched, std::uint32_t mask);
  void run();
  std::optional<std::size_t> ask_for_news(std::uint32_t wait_ms);
  bool stop_waiting_at_home();
  void watch_again();
  bool is_watched(std::uint64_t node) const;

  const bool on_;
  Remote& remote_;
  NodeIndex& nodes_;
  WatchTeller& teller_;

  std::mutex callers_mutex_;
  std::set<pid_t> callers_;  // since it was looked for watches last

  std::mutex look_mutex_;
  // Of look().
  std::set<std::string> cgroups_;
  std::set<pid_t> threads_;
  std::chrono::steady_clock::time_point not_before_{};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::uint64_t, Watched> watched_;
  std::uint64_t serial_ = 0;  // of the store that knows of them
  // How often all was to be told, and which of these was done.
  std::uint64_t rounds_wanted_ = 0;
  std::uint64_t rounds_done_ = 0;
  bool stop_ = false;
  std::thread thread_;  // from the first watch on
};

}  // namespace ssi::fs
