// A process held so that it can't be confused with a later one of the same number.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

// Role: a process of this machine (as this PID namespace numbers it): pidfd + start time. Owned by
// whoever opened it, move-only, usable from any thread. What may go wrong: it ends at any time;
// every call then says kGone (or false) and never touches a newer process with its number.
class ProcessHandle {
 public:
  ProcessHandle() = default;

  // kGone if there is none; kUsage for a number that can't be a process.
  static Result<ProcessHandle> open(pid_t pid);
  // Takes over a pidfd that came from elsewhere (SO_PEERPIDFD, clone3).
  static Result<ProcessHandle> from_pidfd(UniqueFd pidfd);

  explicit operator bool() const { return static_cast<bool>(pidfd_); }
  pid_t pid() const { return pid_; }
  // Clock ticks since boot when it started: field 22 of /proc/PID/stat.
  std::uint64_t start_ticks() const { return start_ticks_; }
  int pidfd() const { return *pidfd_; }

  // False once it has ended, also while it is still a zombie.
  bool alive() const;
  Result<> signal(int signo) const;
  bool same_process(const ProcessHandle& other) const {
    return pid_ == other.pid_ && start_ticks_ == other.start_ticks_ && pid_ != 0;
  }
  // A second handle on the same process.
  Result<ProcessHandle> duplicate() const;

 private:
  ProcessHandle(UniqueFd pidfd, pid_t pid, std::uint64_t start_ticks)
      : pidfd_(std::move(pidfd)), pid_(pid), start_ticks_(start_ticks) {}

  UniqueFd pidfd_;
  pid_t pid_ = 0;
  std::uint64_t start_ticks_ = 0;
};

// Pure: the start time in the text of /proc/PID/stat, whose second field may hold blanks and
// brackets.
Result<std::uint64_t> parse_start_ticks(std::string_view stat_text);

}  // namespace ssi
