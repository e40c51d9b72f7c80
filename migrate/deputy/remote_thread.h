// One stopped thread of another process, through ptrace. All that is x86-64 about the deputy's
// making is in remote_thread.cc.
//
// Thread: every call on a thread must come from the one that seized it (the kernel's rule), and,
// except for seize() and wait_stop(), while it is in a ptrace stop. An attach ends with detach()
// or, whatever state the thread is in, with the end of the seizing thread of ours.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::deputy {

// An address in another process. Not convertible to a pointer of ours.
struct RemotePtr {
  std::uint64_t address = 0;
  RemotePtr operator+(std::uint64_t bytes) const { return {address + bytes}; }
  auto operator<=>(const RemotePtr&) const = default;
};

// A wait status, decoded once.
struct StopStatus {
  enum class Kind { kExited, kTrap, kGroupStop, kSyscall, kExec, kSignal };
  Kind kind;
  int signo = 0;  // kSignal: about to be delivered; kGroupStop: what stopped it
  static StopStatus decode(int wait_status);
};

// What a thread was about to do; enough to let it go on as if nothing had been.
struct ThreadState {
  user_regs_struct registers{};
  std::uint64_t blocked_signals = 0;
};

class RemoteThread {
 public:
  // kGone if there is no such thread (any more); kRefused if somebody else traces it.
  static Result<RemoteThread> seize(pid_t tid);

  pid_t tid() const { return tid_; }

  // Makes it stop; the stop comes later, see poll_trap.
  Result<> interrupt() const;
  // What happened to it since the last stop, if anything; never waits. An exited thread is a
  // status, not an error. To be asked for threads that an exec kills, too: it waits until their
  // tracer has taken note.
  Result<std::optional<StopStatus>> poll_stop() const;
  // The same after interrupt(), until it stands on its way to user mode, where registers may be
  // changed: kTrap, kGroupStop or kExited. Stops before that are passed.
  Result<std::optional<StopStatus>> poll_trap() const;

  Result<ThreadState> state() const;
  Result<> set_state(const ThreadState& state) const;
  // What the kernel does to a thread that it preempts within a restartable sequence (rseq(2)): it
  // is to go on at the sequence's abort handler. For who changes registers and puts them back:
  // meanwhile the kernel sees the thread elsewhere and forgets the sequence.
  Result<> leave_sequence(ThreadState& state) const;
  // Signals waiting for this thread, then those for the whole process, in their order.
  Result<std::vector<int>> pending_signals() const;

  // One of its filters for system calls, the newest is 0; empty: there are no more.
  Result<std::vector<sock_filter>> seccomp_filter(std::size_t index) const;

  // Runs until the next entry to or exit from a system call, exec or signal. The signal at hand is
  // dropped.
  Result<> run_to_syscall() const;
  // Of a kSyscall stop: entry or exit.
  Result<bool> at_syscall_entry() const;
  Result<> detach() const;

  // Also in memory that the process itself may not write, as a debugger sets a breakpoint.
  Result<> peek(RemotePtr from, std::uint64_t* words, std::size_t count) const;
  Result<> poke(RemotePtr to, const std::uint64_t* words, std::size_t count) const;

 private:
  explicit RemoteThread(pid_t tid) : tid_(tid) {}
  pid_t tid_;
};

// The code that a process being converted runs: one system call and, should that come back, pause
// for ever. Nothing of the old program can run from there, tracer or not.
inline constexpr std::size_t kTrapCodeWords = 2;
extern const std::uint64_t kTrapCode[kTrapCodeWords];

// `now` changed so that the thread, once let go, does execve(path, argv, envp) or ends itself (the
// thread, not the process), with all signals blocked.
ThreadState state_for_exec(const ThreadState& now, RemotePtr code, RemotePtr path, RemotePtr argv,
                           RemotePtr envp);
// .. does fcntl(number, F_SETFD, 0), and then pauses for ever.
ThreadState state_to_keep_over_exec(const ThreadState& now, RemotePtr code, int number);
ThreadState state_for_thread_exit(const ThreadState& now, RemotePtr code);
// The result of the system call at whose exit the thread stands; negative is -errno.
std::int64_t syscall_result(const ThreadState& state);
// Whether it is 64-bit code.
bool is_native(const ThreadState& state);

}  // namespace ssi::deputy
