// A frozen original becomes the deputy in place: the same process, by an execve that it is made to
// do.
//
// The promise is that no instruction of the old program runs after the call began, whoever dies
// when:
//
//   frozen           all threads are seized and brought to a ptrace stop; the freezer lets that
//   happen
//                    without letting them run
//   frozen, armed    code "execve; pause for ever" is poked into the process; the leader's
//   registers point
//                    at it, those of every other thread at "exit this thread"; all signals are
//                    blocked in all of them. From here on the old program can't run even if
//                    everything is let go.
//   thawed           the leader alone is resumed, runs one `syscall` instruction and stops at its
//   entry frozen           the cgroup is frozen again while execve runs in the kernel; the other
//   threads die of it frozen, deputy   the stub has not run yet either; the caller thaws when it
//   likes
//
// Descriptors that the deputy keeps (kept_descriptors.h) and execve would close lose their
// FD_CLOEXEC before it, by calls of the leader made in the same way.
//
// If the calling process dies: before "armed" the original is left frozen as it was. From "armed"
// on it is left frozen (or, within the microseconds of "thawed", running) with nothing to do but
// become the deputy, and thawing it does that. In each case calling become_deputy again is right.
//
// If it fails: registers, signal masks and memory are put back and the original is left frozen as
// it was, so that it could be thawed and go on. Not so once the execve has begun to kill the other
// threads or hangs in the kernel (kTimeout: reading the stub's file): then it is left frozen and
// becomes the deputy when it can.
//
// An execve that fails late kills the process (SIGSEGV), so limits too small for one (RLIMIT_STACK
// below 256 kB) are a matter for the check before the move.
//
// Rejected: PTRACE_O_EXITKILL (the parent would see a false exit); SIGSTOP instead of the freezer
// (the parent sees CLD_STOPPED); resuming inside the frozen cgroup (the freezer catches a task on
// its way to user mode, before the `syscall` instruction); letting the leader go with PTRACE_DETACH
// once armed, without the entry stop (works, but a failed execve would leave a process that is
// neither).
//
// Signals: blocked before the thaw, so that whatever comes stays in the queue over the exec and the
// stub forwards it. Signals that were in the queue when the process was dumped travel with the
// guest already; they are named in `carried_signals` and the stub drops them once. A pending
// SIGSTOP, which can't be blocked, is taken out and sent again to the deputy. A stopped process
// (job control) stays stopped. Expiries of the original's own timers are dropped by the stub: the
// guest has those timers.
//
// A frozen process is not safe from a signal whose action is to kill it: the kernel ends it at
// once, frozen or not, and its parent sees that signal. That is kGone here, and the guest has to
// follow it.
//
// The parent sees nothing of all this: no SIGCHLD, no wait status.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi::deputy {

struct ConversionPlan {
  pid_t pid = 0;
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat: it must be that very process
  std::string cgroup_dir;              // absolute; holds this process only, and is frozen
  std::string stub_path;               // as the process sees it; it must be able to execute it
  std::string socket_path;             // as the process sees it; at most 107 bytes
  Epoch epoch;
  bool terminal_left = false;          // its controlling terminal went with the guest
  std::vector<int> carried_signals{};  // a signal several times if it was queued several times
  std::chrono::milliseconds timeout{5000};
};

// Blocks for some milliseconds; uses a thread of its own, because a tracer is a thread. Any thread,
// and several conversions of different processes at a time. Needs CAP_SYS_PTRACE. waitpid(-1)
// elsewhere in this process would steal its events: wait for children by pid. kGone: the process
// ended. kRefused: it can't be done with this one. kTimeout, kFailed: may be tried again.
Result<> become_deputy(const ConversionPlan& plan);

// The signals in the queue of `pid` (each once): for carried_signals, read *before* the dump, so
// that a signal in between comes twice rather than never.
Result<std::vector<int>> queued_signals(pid_t pid);

}  // namespace ssi::deputy
