// What happens to files of this node that a guest of ours watches elsewhere (inotify): its own
// kernel tells it of what it does itself there, and of what others do here it is to hear from us.
//
// One inotify instance for each session keeps the events in the kernel's order. What the session
// does itself (a request of its guests) makes events as well: while such a request is carried out
// it says so (Doing), and events that it explains are dropped. The kernel queues an event before
// the call that caused it returns, so nothing that is read before a request begins or after it has
// ended is taken for its own.
//
// Rejected: fanotify, which says who did it, but makes one event of several of one process about
// one name, and so loses their order. Wrong for a moment can be: another does the same to the same
// file in the microseconds in which a guest does it; both are taken for the guest's.
//
// Owned by the session; thread-safe.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ssid/base/unique_fd.h"

namespace ssi::fs {

struct FileIdentity {
  dev_t dev = 0;
  ino_t ino = 0;
  auto operator<=>(const FileIdentity&) const = default;
};
std::optional<FileIdentity> identity_of(int dir, const char* name);  // "": of `dir` itself
// By which the file was opened, or is called since; also one that it has lost.
struct LastName {
  std::string name;  // empty: it never had one
  bool lost = false;
};
LastName last_name_of(int fd);

// What a request changes, and which events that makes.
struct OwnChange {
  struct Name {
    FileIdentity dir;
    std::string name;
    std::uint32_t mask = 0;
  };
  struct File {
    FileIdentity file;
    std::uint32_t mask = 0;  // told to who watches the file, or its directory
    // By which it is told there if it has lost it, or loses it while this is done.
    LastName last_name{};
  };
  std::vector<Name> names;
  std::vector<File> files;
};

class Watches {
 public:
  static constexpr std::size_t kNewsMax = 256 << 10;  // that wait to be taken

  struct News {
    std::uint64_t tag = 0;
    std::uint32_t mask = 0;
    std::uint32_t cookie = 0;
    std::string name;
  };

  Watches();

  bool any() const { return any_.load(std::memory_order_relaxed); }

  // 0 or an errno. `fd`: of the file, O_PATH will do. Mask 0: no more.
  int watch(int fd, std::uint64_t tag, std::uint32_t mask);

  // A request that is being carried out.
  class Doing {
   public:
    Doing(Watches& watches, OwnChange change);
    ~Doing();
    Doing(const Doing&) = delete;
    Doing& operator=(const Doing&) = delete;

   private:
    Watches& watches_;
    std::list<OwnChange>::iterator change_;
  };

  struct Taken {
    std::vector<News> news;
    bool lost = false;  // more had happened before than could be kept
    std::size_t watched = 0;
  };
  // Waits until there is something, at most that long.
  Taken take(std::chrono::milliseconds wait, std::size_t count_max);
  // Whoever waits, or else who is next, gets what there is without waiting.
  void answer_at_once();
  // Whoever waits, and whoever is to, gets what there is.
  void stop_waiting();

 private:
  struct Watch {
    std::uint64_t tag = 0;
    FileIdentity file;
    bool nameless = false;  // it was when the watch began
    UniqueFd
        fd;  // O_PATH. Keeps the inode, so that the kernel never says that it is deleted: we do
  };
  void drain_locked();
  void note_locked(std::uint32_t mask, std::uint32_t cookie, int number, const char* name);
  void add_locked(News news);
  bool is_own_locked(const Watch& watch, std::uint32_t mask, const char* name) const;
  bool say_if_deleted_locked(int number);
  bool is_in_hands_locked(const Watch& watch) const;
  void drop_deleted_locked(const OwnChange& change);
  void forget_locked(int number);
  void wait_for(std::chrono::milliseconds time) const;

  UniqueFd inotify_;
  UniqueFd wake_;  // eventfd: news_ has grown while somebody waits, or nobody is to wait any more
  std::atomic<bool> any_{false};
  mutable std::mutex mutex_;
  std::map<int, Watch> watches_;  // by the kernel's number
  std::list<OwnChange> doing_;
  std::deque<News> news_;
  bool lost_ = false;
  bool waiting_ = false;
  bool at_once_ = false;
  bool stopped_ = false;
};

}  // namespace ssi::fs
