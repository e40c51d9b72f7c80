#include "migrate/deputy/held_cgroup.h"

#include <fcntl.h>
#include <poll.h>

#include <cstdlib>

namespace ssi::deputy {
namespace {

Result<std::string> read_all(int fd, const char* name) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno(name);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

Result<HeldCgroup> HeldCgroup::open(const std::string& directory) {
  UniqueFd dir(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return Error::from_errno(directory);
  return HeldCgroup(std::move(dir));
}

Result<std::string> HeldCgroup::read(const char* file) const {
  UniqueFd fd(::openat(*dir_, file, O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(file);
  return read_all(*fd, file);
}

Result<> HeldCgroup::write(const char* file, const char* text) const {
  UniqueFd fd(::openat(*dir_, file, O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(*fd, text, std::strlen(text)) < 0) return Error::from_errno(file);
  return {};
}

Result<bool> HeldCgroup::told_to_freeze() const {
  SSI_ASSIGN(const std::string text, read("cgroup.freeze"));
  return text.starts_with("1");
}

Result<> HeldCgroup::wait_frozen(std::chrono::milliseconds timeout) const {
  UniqueFd fd(::openat(*dir_, "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno("cgroup.events");
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    SSI_ASSIGN(const std::string text, read_all(*fd, "cgroup.events"));
    if (text.find("frozen 1") != std::string::npos) return {};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error(ErrorCode::kTimeout, "the process did not freeze in time");
    pollfd wait{.fd = *fd, .events = POLLPRI, .revents = 0};
    ::poll(&wait, 1, static_cast<int>(left.count()));
  }
}

Result<std::vector<pid_t>> HeldCgroup::processes() const {
  SSI_ASSIGN(const std::string text, read("cgroup.procs"));
  std::vector<pid_t> pids;
  for (const char* at = text.c_str(); *at != 0;) {
    char* end = nullptr;
    pids.push_back(static_cast<pid_t>(std::strtol(at, &end, 10)));
    if (end == at) return Error("cgroup.procs: unreadable");
    at = *end == '\n' ? end + 1 : end;
  }
  return pids;
}

}  // namespace ssi::deputy
