// The record locks of a process (F_SETLK) that has left home with a lock for writing. The kernel
// gives such a lock to nobody else, so it stays where it is: with the process at home, which
// becomes the deputy and keeps the descriptor. What the guest asks for from then on is done by the
// deputy (ssid/base/deputy_lock.h).
//
//     moving:          the original has them; who rebuilds the guest asks for what it has already
//     after that:      the deputy is asked
//     nobody has it:   the guest, or the copy of a move that came to nothing, is gone. The deputy
//                      lets go; an original is left alone.
//
// Shared by whoever would share the open file of other locks: sessions, holds. Thread-safe.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "ssid/base/process_handle.h"
#include "ssid/base/result.h"
#include "ssid/wire/carrier/lock_range.h"

namespace ssi::fs {

class DeputyLocks {
 public:
  // How to get at the process; for tests, too.
  struct Access {
    std::function<bool(pid_t)> is_deputy;
    std::function<Result<int>(pid_t, int number, int command, struct flock&)> call;
  };
  static Access real_access();

  struct Owner {
    ProcessHandle process;
    int number = -1;  // of its descriptor of that file
    std::uint64_t device = 0, inode = 0;
  };
  // `has`: all its locks of that file.
  DeputyLocks(Owner owner, std::vector<LockRange> has, Access access = real_access());
  ~DeputyLocks();
  DeputyLocks(const DeputyLocks&) = delete;
  DeputyLocks& operator=(const DeputyLocks&) = delete;

  // As fcntl(F_SETLK) and fcntl(F_GETLK); errno. Waits for an original that is about to become the
  // deputy. ENOLCK: it is gone, or does not answer.
  int set(const struct flock& lock);
  int get(struct flock& lock);

  bool is_same(const DeputyLocks& other) const;
  // Of a move that came to nothing: whoever still has it means nothing by letting go.
  void give_up() { given_up_ = true; }

 private:
  int ask(int command, struct flock& lock);
  bool has_already(const struct flock& lock) const;

  const Owner owner_;
  const Access access_;
  std::atomic<bool> given_up_ = false;
  std::mutex mutex_;
  std::vector<LockRange> has_;  // until something else was asked for
};

}  // namespace ssi::fs
