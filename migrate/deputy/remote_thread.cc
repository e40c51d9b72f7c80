#include "migrate/deputy/remote_thread.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#ifndef __x86_64__
#error "the deputy is made by x86-64 code; another machine needs its own remote_thread.cc"
#endif

namespace ssi::deputy {
namespace {

constexpr std::uint64_t kNativeCodeSegment = 0x33;
constexpr std::uint64_t kRseqCsOffset = 8;  // in struct rseq

void* as_pointer(std::uint64_t value) { return reinterpret_cast<void*>(value); }

std::string about(const char* what, pid_t tid) {
  return std::string(what) + " of thread " + std::to_string(tid);
}

Result<> request(const char* what, __ptrace_request op, pid_t tid, void* address, void* data) {
  if (ptrace(op, tid, address, data) == 0) return {};
  return Error::from_errno(about(what, tid));
}

}  // namespace

//   0  syscall
//   2  mov $34, %eax     (pause)
//   7  syscall
//   9  jmp 2
//   b  nop ...
const std::uint64_t kTrapCode[kTrapCodeWords] = {0x0f00000022b8050f, 0x9090909090f7eb05};

StopStatus StopStatus::decode(int status) {
  if (!WIFSTOPPED(status)) return {.kind = Kind::kExited};
  const int signo = WSTOPSIG(status);
  const int event = status >> 16;
  if (event == PTRACE_EVENT_EXEC) return {.kind = Kind::kExec};
  if (event == PTRACE_EVENT_STOP) {
    return signo == SIGTRAP ? StopStatus{.kind = Kind::kTrap}
                            : StopStatus{.kind = Kind::kGroupStop, .signo = signo};
  }
  if (signo == (SIGTRAP | 0x80)) return {.kind = Kind::kSyscall};
  return {.kind = Kind::kSignal, .signo = signo};
}

Result<RemoteThread> RemoteThread::seize(pid_t tid) {
  if (ptrace(PTRACE_SEIZE, tid, nullptr, as_pointer(PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)) !=
      0) {
    if (errno == EPERM) {
      return Error(ErrorCode::kRefused,
                   "thread " + std::to_string(tid) + " is traced by a debugger");
    }
    return Error::from_errno("trace thread " + std::to_string(tid));
  }
  return RemoteThread(tid);
}

Result<> RemoteThread::interrupt() const {
  return request("interrupt", PTRACE_INTERRUPT, tid_, nullptr, nullptr);
}

Result<std::optional<StopStatus>> RemoteThread::poll_stop() const {
  for (;;) {
    int status = 0;
    const pid_t got = waitpid(tid_, &status, __WALL | WNOHANG);
    if (got == tid_) return std::optional(StopStatus::decode(status));
    if (got == 0) return std::optional<StopStatus>();
    if (errno == ECHILD) return std::optional(StopStatus{.kind = StopStatus::Kind::kExited});
    if (errno != EINTR) return Error::from_errno(about("wait", tid_));
  }
}

// A task that its last tracer left in the middle of an execve, or just before a signal, says so
// first.
Result<std::optional<StopStatus>> RemoteThread::poll_trap() const {
  using Kind = StopStatus::Kind;
  for (;;) {
    auto status = poll_stop();
    if (!status || !*status) return status;
    const Kind kind = (*status)->kind;
    if (kind == Kind::kTrap || kind == Kind::kGroupStop || kind == Kind::kExited) return status;
    SSI_TRY(interrupt());  // any stop uses up the request for the trap
    SSI_TRY(request("resume", PTRACE_CONT, tid_, nullptr,
                    as_pointer(static_cast<std::uint64_t>((*status)->signo))));
  }
}

Result<ThreadState> RemoteThread::state() const {
  ThreadState state;
  SSI_TRY(request("get registers", PTRACE_GETREGS, tid_, nullptr, &state.registers));
  SSI_TRY(request("get signal mask", PTRACE_GETSIGMASK, tid_,
                  as_pointer(sizeof state.blocked_signals), &state.blocked_signals));
  return state;
}

Result<> RemoteThread::set_state(const ThreadState& state) const {
  ThreadState copy = state;
  SSI_TRY(request("set signal mask", PTRACE_SETSIGMASK, tid_,
                  as_pointer(sizeof copy.blocked_signals), &copy.blocked_signals));
  return request("set registers", PTRACE_SETREGS, tid_, nullptr, &copy.registers);
}

Result<> RemoteThread::leave_sequence(ThreadState& state) const {
  __ptrace_rseq_configuration registered{};
  if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid_, as_pointer(sizeof registered), &registered) < 0) {
    if (errno == EIO || errno == EINVAL) return {};  // before Linux 5.13, or without rseq
    return Error::from_errno(about("ask for the restartable sequence", tid_));
  }
  if (registered.rseq_abi_pointer == 0) return {};
  const RemotePtr area{registered.rseq_abi_pointer};
  std::uint64_t sequence = 0;
  SSI_TRY(peek(area + kRseqCsOffset, &sequence, 1));
  if (sequence == 0) return {};
  std::uint64_t words[4];  // version and flags, start, length, abort handler
  SSI_TRY(peek(RemotePtr{sequence}, words, 4));
  if (state.registers.rip - words[1] < words[2]) state.registers.rip = words[3];
  return {};
}

Result<std::vector<int>> RemoteThread::pending_signals() const {
  std::vector<int> signals;
  for (unsigned flags : {0U, static_cast<unsigned>(PTRACE_PEEKSIGINFO_SHARED)}) {
    for (std::uint64_t offset = 0;;) {
      siginfo_t infos[32];
      __ptrace_peeksiginfo_args args{offset, flags, 32};
      const long count = ptrace(PTRACE_PEEKSIGINFO, tid_, &args, infos);
      if (count < 0) return Error::from_errno(about("read pending signals", tid_));
      if (count == 0) break;
      for (long i = 0; i < count; ++i) signals.push_back(infos[i].si_signo);
      offset += static_cast<std::uint64_t>(count);
    }
  }
  return signals;
}

Result<std::vector<sock_filter>> RemoteThread::seccomp_filter(std::size_t index) const {
  constexpr auto kGetFilter = static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER);
  void* const which = as_pointer(index);
  const long size = ptrace(kGetFilter, tid_, which, nullptr);
  if (size < 0 && errno == ENOENT) return std::vector<sock_filter>();
  if (size <= 0) return Error::from_errno(about("read a filter", tid_));
  std::vector<sock_filter> filter(static_cast<std::size_t>(size));
  if (ptrace(kGetFilter, tid_, which, filter.data()) != size) {
    return Error::from_errno(about("read a filter", tid_));
  }
  return filter;
}

Result<> RemoteThread::run_to_syscall() const {
  return request("resume", PTRACE_SYSCALL, tid_, nullptr, nullptr);
}

Result<bool> RemoteThread::at_syscall_entry() const {
  __ptrace_syscall_info info{};
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tid_, as_pointer(sizeof info), &info) < 0) {
    return Error::from_errno(about("read system call", tid_));
  }
  return info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

Result<> RemoteThread::detach() const {
  return request("detach", PTRACE_DETACH, tid_, nullptr, nullptr);
}

Result<> RemoteThread::peek(RemotePtr from, std::uint64_t* words, std::size_t count) const {
  for (std::size_t i = 0; i < count; ++i) {
    errno = 0;
    const long word = ptrace(PTRACE_PEEKDATA, tid_, as_pointer((from + 8 * i).address), nullptr);
    if (errno != 0) return Error::from_errno(about("read memory", tid_));
    words[i] = static_cast<std::uint64_t>(word);
  }
  return {};
}

Result<> RemoteThread::poke(RemotePtr to, const std::uint64_t* words, std::size_t count) const {
  for (std::size_t i = 0; i < count; ++i) {
    SSI_TRY(request("write memory", PTRACE_POKEDATA, tid_, as_pointer((to + 8 * i).address),
                    as_pointer(words[i])));
  }
  return {};
}

// orig_rax -1: whatever system call it was interrupted in is not to be restarted.
ThreadState state_for_exec(const ThreadState& now, RemotePtr code, RemotePtr path, RemotePtr argv,
                           RemotePtr envp) {
  ThreadState state = now;
  state.blocked_signals = ~std::uint64_t{0};
  state.registers.orig_rax = ~0ULL;
  state.registers.rax = SYS_execve;
  state.registers.rip = code.address;
  state.registers.rdi = path.address;
  state.registers.rsi = argv.address;
  state.registers.rdx = envp.address;
  state.registers.eflags &= ~(0x100ULL | 0x400ULL);  // no single step, no direction
  return state;
}

ThreadState state_to_keep_over_exec(const ThreadState& now, RemotePtr code, int number) {
  ThreadState state =
      state_for_exec(now, code, {static_cast<std::uint64_t>(number)}, {F_SETFD}, {});
  state.registers.rax = SYS_fcntl;
  return state;
}

ThreadState state_for_thread_exit(const ThreadState& now, RemotePtr code) {
  ThreadState state = state_for_exec(now, code, {}, {}, {});
  state.registers.rax = SYS_exit;
  return state;
}

std::int64_t syscall_result(const ThreadState& state) {
  return static_cast<std::int64_t>(state.registers.rax);
}

bool is_native(const ThreadState& state) { return state.registers.cs == kNativeCodeSegment; }

}  // namespace ssi::deputy
