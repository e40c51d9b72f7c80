#include "migrate/freezer/freezer_cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ssid/base/proc_status.h"

namespace ssi::migrate {
namespace {

Result<> write_file(const std::string& path, std::string_view text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path);
  if (::write(*fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Error::from_errno(path);
  }
  return {};
}

template <typename T>
bool take_number(std::string_view& text, char end, T& out) {
  auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  if (end == '\0') return text.empty();
  if (text.empty() || text.front() != end) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string CopyName::to_string() const {
  return std::to_string(pid.home.value) + "-" + std::to_string(pid.pid) + "-" +
         std::to_string(epoch.value);
}

std::optional<CopyName> CopyName::parse(std::string_view text) {
  CopyName name;
  if (!take_number(text, '-', name.pid.home.value) || !take_number(text, '-', name.pid.pid) ||
      !take_number(text, '\0', name.epoch.value) || !name.pid.home || name.pid.pid <= 0) {
    return std::nullopt;
  }
  return name;
}

Result<FreezerCgroup> FreezerCgroup::create(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) return Error::from_errno("make " + dir);
  return open(dir);
}

Result<FreezerCgroup> FreezerCgroup::open(const std::string& dir) {
  if (::access((dir + "/cgroup.freeze").c_str(), W_OK) != 0) {
    return Error::from_errno("freezer cgroup " + dir);
  }
  return FreezerCgroup(dir);
}

Result<> FreezerCgroup::add(pid_t pid) const {
  return write_file(dir_ + "/cgroup.procs", std::to_string(pid));
}

Result<std::vector<pid_t>> FreezerCgroup::pids() const {
  std::ifstream in(dir_ + "/cgroup.procs");
  if (!in) return Error::from_errno("read " + dir_ + "/cgroup.procs");
  std::vector<pid_t> pids;
  for (pid_t pid; in >> pid;) pids.push_back(pid);
  return pids;
}

Result<pid_t> FreezerCgroup::pid_of(pid_t inside) const {
  SSI_ASSIGN(const auto all, pids());
  for (const pid_t pid : all) {
    if (innermost_pid(pid) == inside) return pid;
  }
  return Error(ErrorCode::kGone, "it has ended meanwhile");
}

Result<> FreezerCgroup::wait_event(const char* line, std::chrono::milliseconds timeout) const {
  const std::string path = dir_ + "/cgroup.events";
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path);
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    char text[256];
    const ssize_t n = ::pread(*fd, text, sizeof text, 0);
    if (n < 0) return Error::from_errno(path);
    if (std::string_view(text, static_cast<std::size_t>(n)).find(line) != std::string_view::npos) {
      return {};
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Error(ErrorCode::kTimeout, dir_ + ": not '" + line + "' in time");
    }
    // Not for long: the kernel sends at most one notice of a cgroup in 10 ms.
    pollfd p{*fd, POLLPRI, 0};
    const timespec pause{0, 200'000};
    ::ppoll(&p, 1, &pause, nullptr);
  }
}

Result<> FreezerCgroup::freeze(std::chrono::milliseconds timeout) const {
  SSI_TRY(freeze_nowait());
  return wait_event("frozen 1", timeout);
}

Result<> FreezerCgroup::freeze_nowait() const { return write_file(dir_ + "/cgroup.freeze", "1"); }

Result<> FreezerCgroup::thaw() const { return write_file(dir_ + "/cgroup.freeze", "0"); }

Result<> FreezerCgroup::kill(std::chrono::milliseconds timeout) const {
  SSI_TRY(write_file(dir_ + "/cgroup.kill", "1"));
  return wait_event("populated 0", timeout);
}

Result<> FreezerCgroup::remove() const {
  if (::rmdir(dir_.c_str()) != 0 && errno != ENOENT) return Error::from_errno("remove " + dir_);
  return {};
}

Result<UniqueFd> FreezerCgroup::open_procs() const {
  UniqueFd fd(::open((dir_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(dir_ + "/cgroup.procs");
  return fd;
}

Result<UniqueFd> FreezerCgroup::open_kill() const {
  UniqueFd fd(::open((dir_ + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(dir_ + "/cgroup.kill");
  return fd;
}

Result<FreezerRoot> FreezerRoot::open() {
  std::ifstream mounts("/proc/self/mounts");
  std::string source, mount, type, rest;
  while (mounts >> source >> mount >> type && std::getline(mounts, rest)) {
    if (type != "cgroup2") continue;
    const std::string root = mount + "/ssid";
    for (const std::string& dir : {root, root + "/moving", root + "/guests", root + "/workers"}) {
      if (::mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) {
        return Error::from_errno("make " + dir);
      }
    }
    return FreezerRoot(mount, root);
  }
  return Error("no cgroup v2 hierarchy is mounted; ssid holds moving processes with its freezer");
}

std::vector<CopyName> FreezerRoot::list(const std::string& dir) {
  std::vector<CopyName> names;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(dir, ec)) {
    if (auto name = CopyName::parse(entry.path().filename().string())) names.push_back(*name);
  }
  return names;
}

Result<std::string> FreezerRoot::cgroup_of(pid_t pid) const {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cgroup");
  if (!in) return Error::from_errno("cgroup of " + std::to_string(pid), ESRCH);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("0::")) return mount_ + line.substr(3);
  }
  return Error("process " + std::to_string(pid) + " is in no cgroup v2");
}

}  // namespace ssi::migrate
