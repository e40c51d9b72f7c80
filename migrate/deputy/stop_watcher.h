// Sees deputies being stopped (kill -STOP, which no process can take) and continued, so that ssid
// can do the same to the guest. By ptrace, as there is no other way to learn it of a process that
// is not one's child. The deputy's real parent still gets its SIGCHLD and wait status of every
// stop, continue and end: a traced process reports to both.
//
// If ssid dies, the kernel detaches the deputies: a stopped one stays stopped, a running one runs
// on. An ended deputy is seen by its parent only once its tracer, this thread, has taken note; it
// always does at once, but an ssid that is itself stopped delays that.
//
// While watched: a deputy can't be traced by a user's debugger; ps shows "t" instead of "T" when
// stopped.
//
// Thread: one of its own, asleep in waitpid. It is woken by a SIGURG to that thread, for which the
// constructor installs an empty handler if SIGURG has none. All of this process must wait for its
// children by PID or pidfd, not with waitpid(-1), which would steal the events.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::deputy {

struct StopReport {
  enum class Kind { kStopped, kContinued, kGone };
  pid_t pid = 0;
  Kind kind = Kind::kGone;
  int signo = 0;  // kStopped: SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU
};

class StopWatcher {
 public:
  StopWatcher();
  ~StopWatcher();
  StopWatcher(const StopWatcher&) = delete;
  StopWatcher& operator=(const StopWatcher&) = delete;

  // From the return on no stop is missed; one that is already stopped is reported at once. Watching
  // it again changes nothing. A frozen one may be watched. kGone, or kRefused if a debugger has it.
  // Any thread.
  Result<> watch(pid_t pid);
  void unwatch(pid_t pid);

  // Readable while reports wait; belongs to the watcher.
  int event_fd() const;
  // Oldest first; never blocks. A report may be late: SIGSTOP and SIGCONT in quick succession give
  // a kStopped that is over when it is read, while the SIGCONT has come by the deputy's socket
  // already. So ask is_stopped() before stopping the guest.
  std::vector<StopReport> take();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

// Whether the process is held by a stop at this moment, or is just going into or out of one (frozen
// does not count). If so it does not run, and a SIGCONT that ends the stop has not yet come by its
// socket.
bool is_stopped(pid_t pid);

}  // namespace ssi::deputy
