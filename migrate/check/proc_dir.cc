#include "migrate/check/proc_dir.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <sstream>

namespace ssi::check {

Result<ProcDir> ProcDir::open(pid_t pid) {
  UniqueFd dir(::open(("/proc/" + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) {
    return Error::from_errno("process " + std::to_string(pid), errno == ENOENT ? ESRCH : errno);
  }
  return ProcDir(pid, std::move(dir));
}

// A file of a process that is no more gives ESRCH or ENOENT; one of a zombie may give EACCES.
Error ProcDir::error(const std::string& file) const {
  const int err = errno;
  if (err == EACCES || err == EPERM) {
    return Error(ErrorCode::kRefused,
                 "process " + std::to_string(pid_) +
                     " has more privileges than ssid, which may not look into it");
  }
  const bool gone = ::faccessat(*dir_, "stat", F_OK, 0) != 0;
  return Error::from_errno("/proc/" + std::to_string(pid_) + "/" + file, gone ? ESRCH : err);
}

Result<UniqueFd> ProcDir::open_file(const std::string& file, int flags) const {
  UniqueFd fd(::openat(*dir_, file.c_str(), flags | O_CLOEXEC));
  if (!fd) return error(file);
  return fd;
}

Result<std::string> ProcDir::read(const std::string& file) const {
  SSI_ASSIGN(const UniqueFd fd, open_file(file, O_RDONLY));
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(*fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error(file);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

Result<std::string> ProcDir::link(const std::string& file) const {
  char target[PATH_MAX];
  const ssize_t size = ::readlinkat(*dir_, file.c_str(), target, sizeof target);
  if (size < 0) return error(file);
  return std::string(target, static_cast<std::size_t>(size));
}

Result<struct stat> ProcDir::status(const std::string& file) const {
  struct stat st {};
  if (::fstatat(*dir_, file.c_str(), &st, 0) != 0) return error(file);
  return st;
}

Result<std::vector<std::string>> ProcDir::list(const std::string& name) const {
  SSI_ASSIGN(UniqueFd fd, open_file(name, O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(*fd), ::closedir);
  if (!dir) return error(name);
  (void)fd.release();
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

std::string ProcDir::path(const std::string& file) const {
  return "/proc/self/fd/" + std::to_string(*dir_) + "/" + file;
}

std::vector<pid_t> children_of(const ProcDir& proc, const std::string& tid) {
  std::istringstream text(proc.read("task/" + tid + "/children").value_or(""));
  return {std::istream_iterator<pid_t>(text), {}};
}

std::set<pid_t> pids_of_tree(pid_t root) {
  std::set<pid_t> found;
  for (std::vector<pid_t> left{root}; !left.empty();) {
    const pid_t pid = left.back();
    left.pop_back();
    const auto proc = ProcDir::open(pid);
    if (!proc || !found.insert(pid).second) continue;
    for (const std::string& tid : proc->list("task").value_or(std::vector<std::string>{})) {
      std::ranges::copy(children_of(*proc, tid), std::back_inserter(left));
    }
  }
  return found;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc"), ::closedir);
  if (!dir) return pids;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) != 0) {
      pids.push_back(static_cast<pid_t>(std::atoi(entry->d_name)));
    }
  }
  return pids;
}

std::vector<Mapping> parse_maps(const std::string& text) {
  std::vector<Mapping> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    Mapping m;
    unsigned long inode = 0;
    int name_at = 0;
    if (std::sscanf(line.c_str(), "%*x-%*x %4s %*x %x:%x %lu %n", m.flags, &m.device_major,
                    &m.device_minor, &inode, &name_at) < 4) {
      continue;
    }
    m.inode = inode;
    m.range = line.substr(0, line.find(' '));
    if (name_at > 0) m.name = line.substr(static_cast<std::size_t>(name_at));
    all.push_back(std::move(m));
  }
  return all;
}

std::string field(const std::string& status, const std::string& name) {
  const std::string key = "\n" + name + ":";
  const std::string text = "\n" + status;
  std::size_t at = text.find(key);
  if (at == std::string::npos) return {};
  at = text.find_first_not_of(" \t", at + key.size());
  if (at == std::string::npos) return {};
  return text.substr(at, text.find('\n', at) - at);
}

bool is_nameless_memory(std::string_view name) {
  return name.starts_with("/dev/zero") || name.starts_with("/SYSV") || name.starts_with("/memfd:");
}

bool is_memory_object(std::string_view name) {
  return is_nameless_memory(name) || name.starts_with("/dev/shm/");
}

}  // namespace ssi::check
