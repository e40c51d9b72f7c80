#include "migrate/pages/remote_uffd.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "migrate/deputy/remote_thread.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/process_handle.h"

namespace ssi::migrate {
namespace {

using deputy::RemotePtr;
using deputy::RemoteThread;
using deputy::StopStatus;
using deputy::ThreadState;
using Clock = std::chrono::steady_clock;

constexpr auto kStopTimeout = std::chrono::milliseconds(200);
// Once it has another state than its own there is no way back but through its next stop, however
// long it gets no CPU.
constexpr auto kCallTimeout = std::chrono::minutes(2);
constexpr unsigned kUserModeOnly = 1;  // UFFD_USER_MODE_ONLY: allowed to any user

Error refused(const std::string& why) { return Error(ErrorCode::kRefused, why); }

// Where in the process a system call instruction lies: its vdso has one.
Result<RemotePtr> find_syscall(pid_t pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with("[vdso]")) continue;
    std::uint64_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2 || end <= begin) break;
    std::vector<unsigned char> code(std::min<std::uint64_t>(end - begin, 1u << 16));
    const iovec here{code.data(), code.size()};
    const iovec there{reinterpret_cast<void*>(begin), code.size()};
    const ssize_t n = ::process_vm_readv(pid, &here, 1, &there, 1, 0);
    for (ssize_t i = 0; i + 1 < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (code[at] == 0x0f && code[at + 1] == 0x05) return RemotePtr{begin + at};
    }
    break;
  }
  return refused("no system call in its vdso");
}

// All threads of a process, standing in ptrace stops. Ends with every one going on where it was.
class StoppedProcess {
 public:
  static Result<StoppedProcess> stop(pid_t pid) {
    StoppedProcess stopped;
    const auto deadline = Clock::now() + kStopTimeout;
    const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
    for (bool more = true; more;) {  // threads may be born while others are stopped
      more = false;
      std::error_code ec;
      for (const auto& entry : std::filesystem::directory_iterator(tasks, ec)) {
        const pid_t tid = std::atoi(entry.path().filename().c_str());
        if (stopped.threads_.contains(tid)) continue;
        auto thread = RemoteThread::seize(tid);
        if (!thread && thread.error().code() == ErrorCode::kGone) continue;
        if (!thread) return std::move(thread).error();
        auto& mine = stopped.threads_.emplace(tid, Held{*thread, std::nullopt}).first->second;
        SSI_TRY(mine.thread.interrupt());
        SSI_TRY(stopped.wait_trap(mine, deadline));
        more = true;
      }
      if (ec) return Error(ErrorCode::kGone, "no such process");
    }
    if (!stopped.threads_.contains(pid) || !stopped.threads_.at(pid).before) {
      return refused("its main thread has ended");
    }
    Held& main = stopped.threads_.at(pid);
    SSI_TRY(main.thread.leave_sequence(*main.before));
    return stopped;
  }
  StoppedProcess(StoppedProcess&&) = default;
  StoppedProcess& operator=(StoppedProcess&&) = delete;
  ~StoppedProcess() {
    for (auto& [tid, held] : threads_) {
      if (held.before) (void)held.thread.detach();
    }
  }

  // The main thread makes a system call.
  Result<std::int64_t> call(pid_t pid, RemotePtr code, long number, std::uint64_t first) {
    const Held& main = threads_.at(pid);
    ThreadState state = *main.before;
    state.blocked_signals = ~std::uint64_t{0};
    state.registers.orig_rax = ~0ULL;
    state.registers.rax = static_cast<std::uint64_t>(number);
    state.registers.rip = code.address;
    state.registers.rdi = first;
    state.registers.eflags &= ~(0x100ULL | 0x400ULL);
    SSI_TRY(main.thread.set_state(state));
    const auto deadline = Clock::now() + kCallTimeout;
    for (int stop = 0; stop < 2; ++stop) {  // entry, exit
      SSI_TRY(main.thread.run_to_syscall());
      SSI_ASSIGN(const StopStatus status, wait(main.thread, deadline));
      if (status.kind != StopStatus::Kind::kSyscall) return Error("it did not make the call");
    }
    SSI_ASSIGN(const ThreadState after, main.thread.state());
    return deputy::syscall_result(after);
  }
  // Back to where it was: in the same kind of stop, so that an interrupted call goes on.
  Result<> put_back(pid_t pid) {
    const Held& main = threads_.at(pid);
    const auto deadline = Clock::now() + kCallTimeout;
    SSI_TRY(main.thread.interrupt());
    SSI_TRY(main.thread.run_to_syscall());
    SSI_ASSIGN(const StopStatus status, wait(main.thread, deadline));
    auto back = main.thread.set_state(*main.before);
    if (status.kind != StopStatus::Kind::kTrap) return Error("it did not stop again");
    return back;
  }

 private:
  struct Held {
    RemoteThread thread;
    std::optional<ThreadState> before;  // none: it has ended
  };

  static Result<StopStatus> wait(const RemoteThread& thread, Clock::time_point deadline) {
    for (;;) {
      SSI_ASSIGN(const auto status, thread.poll_stop());
      if (status) return *status;
      if (Clock::now() > deadline) return refused("it does not stop");
      ::usleep(20);
    }
  }
  Result<> wait_trap(Held& held, Clock::time_point deadline) {
    for (;;) {
      SSI_ASSIGN(const auto status, held.thread.poll_trap());
      if (status && status->kind == StopStatus::Kind::kExited) return {};
      if (status) {
        SSI_ASSIGN(held.before, held.thread.state());
        if (status->kind == StopStatus::Kind::kGroupStop) return refused("it is stopped");
        if (!deputy::is_native(*held.before)) return refused("it is 32-bit code");
        return {};
      }
      if (Clock::now() > deadline) return refused("it does not stop");
      ::usleep(20);
    }
  }

  StoppedProcess() = default;
  std::map<pid_t, Held> threads_;
};

Result<> check_seccomp(pid_t pid) {
  const std::string mode = proc_status_line(pid, "Seccomp");
  if (!mode.empty()) {
    return mode.ends_with("0") ? Result<>() : refused("it has a seccomp filter");
  }
  return Error(ErrorCode::kGone, "no such process");
}

Result<UniqueFd> open_there(pid_t pid) {
  SSI_TRY(check_seccomp(pid));
  SSI_ASSIGN(const auto process, ProcessHandle::open(pid));
  SSI_ASSIGN(const RemotePtr code, find_syscall(pid));
  SSI_ASSIGN(StoppedProcess stopped, StoppedProcess::stop(pid));
  auto made = stopped.call(pid, code, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly);
  UniqueFd fd;
  if (made && *made >= 0) {
    fd = UniqueFd(
        static_cast<int>(::syscall(SYS_pidfd_getfd, process.pidfd(), static_cast<int>(*made), 0)));
    (void)stopped.call(pid, code, SYS_close, static_cast<std::uint64_t>(*made));
  }
  SSI_TRY(stopped.put_back(pid));
  if (!made) return std::move(made).error();
  if (*made < 0)
    return refused(std::string("userfaultfd: ") + std::strerror(static_cast<int>(-*made)));
  if (!fd) return Error::from_errno("take over the userfaultfd");
  return fd;
}

}  // namespace

Result<UniqueFd> open_userfaultfd_in(pid_t pid) {
  // In a thread of its own: with its end, every attach ends that could not be ended before.
  std::optional<Result<UniqueFd>> opened;
  std::thread([&] { opened.emplace(open_there(pid)); }).join();
  return std::move(*opened).context("watch its memory");
}

}  // namespace ssi::migrate
