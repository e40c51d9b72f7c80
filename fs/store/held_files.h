// Files kept open for a process that is being moved, under a number that only its movers know: the
// target opens them by it, whether they still have a name or not. A hold of an open file keeps what
// belongs to that one, too: its flock() lock and the file itself.
//
// Owned by the store; thread-safe. A hold that nobody releases (both movers died) goes when the
// table is used, or drop_old() is called, after kHeldFor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "fs/store/deputy_locks.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {

class HeldFiles {
 public:
  using SharedFd = std::shared_ptr<const UniqueFd>;
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes kHeldFor{5};

  explicit HeldFiles(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

  using SharedLocks = std::shared_ptr<DeputyLocks>;

  // The number; never 0. `deputy`: the locks that are held are not those of `fd`, but these.
  std::uint64_t hold(SharedFd fd, SharedLocks deputy = {});
  SharedFd find(std::uint64_t id);  // null: not held (any more)
  SharedLocks find_deputy(std::uint64_t id);
  void release(std::uint64_t id);
  void drop_old();
  std::size_t size();

 private:
  struct Held {
    SharedFd fd;
    SharedLocks deputy;
    Clock::time_point until;
  };
  std::vector<Held> take_old_locked();
  void replace_locked(const SharedLocks& deputy);

  const std::function<Clock::time_point()> now_;
  std::mutex mutex_;
  std::map<std::uint64_t, Held> held_;
  std::vector<std::weak_ptr<DeputyLocks>> deputies_;
};

}  // namespace ssi::fs
