#include "ssid/base/process_handle.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <string>

namespace ssi {
namespace {

// A /proc file of a few hundred bytes. ESRCH and ENOENT mean that the process is gone.
Result<std::string> read_small_proc_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno("open " + path, errno == ENOENT ? ESRCH : errno);
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = ::read(*fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read " + path);
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (text.size() > 65536) return Error("read " + path + ": too long");
  }
}

bool pidfd_alive(int pidfd) {
  pollfd p{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, 0) == 0;
}

// A zombie keeps its number; only after it was reaped may another process get it.
bool was_reaped(int pidfd) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) != 0 && errno == ESRCH;
}

Result<std::uint64_t> read_start_ticks(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  SSI_ASSIGN(std::string text, read_small_proc_file(path));
  return parse_start_ticks(text).context(path);
}

// "Pid:\t123" of a pidfd's fdinfo; -1 or 0 there: ended, or not in this PID namespace.
Result<pid_t> pid_of_pidfd(int pidfd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
  SSI_ASSIGN(std::string text, read_small_proc_file(path));
  const auto at = text.find("\nPid:\t");
  if (at == std::string::npos) return Error(ErrorCode::kUsage, "not a pidfd");
  pid_t pid = 0;
  const char* first = text.data() + at + 6;
  std::from_chars(first, text.data() + text.size(), pid);
  if (pid <= 0) return Error(ErrorCode::kGone, "the process of the pidfd has ended");
  return pid;
}

}  // namespace

Result<std::uint64_t> parse_start_ticks(std::string_view stat_text) {
  const auto bracket = stat_text.rfind(')');
  if (bracket == std::string_view::npos) return Error("stat has no command name");
  std::string_view rest = stat_text.substr(bracket + 1);
  // Behind the bracket comes field 3, the state; the start time is field 22.
  for (int field = 3; field <= 22; ++field) {
    const auto begin = rest.find_first_not_of(" \n");
    if (begin == std::string_view::npos) return Error("stat is too short");
    rest.remove_prefix(begin);
    if (field == 22) break;
    rest.remove_prefix(std::min(rest.find_first_of(" \n"), rest.size()));
  }
  std::uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), ticks);
  if (error != std::errc{} || end == rest.data()) return Error("stat has no start time");
  return ticks;
}

Result<ProcessHandle> ProcessHandle::open(pid_t pid) {
  const std::string name = "process " + std::to_string(pid);
  if (pid <= 0) return Error(ErrorCode::kUsage, name + ": not a process id");
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // EINVAL: a thread that is not the leader of its process (a process of that number does not
  // exist).
  if (!pidfd) return Error::from_errno(name, errno == EINVAL || errno == ENOENT ? ESRCH : errno);
  auto ticks = read_start_ticks(pid);
  if (!ticks) return std::move(ticks).error().context(name);
  // The start time is that of the pidfd's process only if that one had not been reaped when we read
  // it.
  if (was_reaped(*pidfd)) return Error(ErrorCode::kGone, name + ": No such process");
  return ProcessHandle(std::move(pidfd), pid, *ticks);
}

Result<ProcessHandle> ProcessHandle::from_pidfd(UniqueFd pidfd) {
  auto pid = pid_of_pidfd(*pidfd);
  if (!pid) return std::move(pid).error();
  auto ticks = read_start_ticks(*pid);
  if (!ticks) return std::move(ticks).error();
  if (was_reaped(*pidfd))
    return Error(ErrorCode::kGone, "process " + std::to_string(*pid) + ": No such process");
  return ProcessHandle(std::move(pidfd), *pid, *ticks);
}

bool ProcessHandle::alive() const { return pidfd_ && pidfd_alive(*pidfd_); }

Result<> ProcessHandle::signal(int signo) const {
  if (!pidfd_) return Error(ErrorCode::kGone, "no process");
  if (::syscall(SYS_pidfd_send_signal, *pidfd_, signo, nullptr, 0) != 0)
    return Error::from_errno("signal " + std::to_string(signo) + " to " + std::to_string(pid_));
  return {};
}

Result<ProcessHandle> ProcessHandle::duplicate() const {
  if (!pidfd_) return Error(ErrorCode::kGone, "no process");
  UniqueFd copy(::fcntl(*pidfd_, F_DUPFD_CLOEXEC, 0));
  if (!copy) return Error::from_errno("duplicate a pidfd");
  return ProcessHandle(std::move(copy), pid_, start_ticks_);
}

}  // namespace ssi
