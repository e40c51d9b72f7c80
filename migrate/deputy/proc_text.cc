#include "migrate/deputy/proc_text.h"

#include <dirent.h>
#include <fcntl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "ssid/base/unique_fd.h"

namespace ssi::deputy {
namespace {

Error proc_error(const std::string& path) {
  const int err = errno;
  return Error::from_errno(path, err == ENOENT ? ESRCH : err);
}

// As numbered in proc(5), from 3 on.
Result<std::string> stat_field(pid_t pid, int wanted) {
  SSI_ASSIGN(const std::string stat, read_proc_file(pid, "stat"));
  const std::size_t comm_end = stat.rfind(')');
  if (comm_end == std::string::npos) return Error("stat: unreadable");
  std::istringstream fields(stat.substr(comm_end + 1));
  std::string field;
  for (int number = 3; fields >> field; ++number) {
    if (number == wanted) return field;
  }
  return Error("stat: too short");
}

}  // namespace

Result<std::string> read_proc_file(pid_t pid, const char* file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return proc_error(path);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(*fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return proc_error(path);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

Result<std::uint64_t> start_time_ticks(pid_t pid) {
  SSI_ASSIGN(const std::string text, stat_field(pid, 22));
  return std::strtoull(text.c_str(), nullptr, 10);
}

Result<char> process_state(pid_t pid) {
  SSI_ASSIGN(const std::string text, stat_field(pid, 3));
  return text[0];
}

Result<std::vector<pid_t>> thread_ids(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/task";
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return proc_error(path);
  std::vector<pid_t> tids;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] != '.') tids.push_back(static_cast<pid_t>(std::atoi(entry->d_name)));
  }
  return tids;
}

Result<std::vector<Mapping>> mappings(pid_t pid) {
  SSI_ASSIGN(const std::string text, read_proc_file(pid, "maps"));
  std::vector<Mapping> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    unsigned long start = 0, end = 0;
    char flags[5] = {};
    int name_at = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %*s %n", &start, &end, flags, &name_at) <
        3) {
      return Error("maps: unreadable");
    }
    all.push_back({.start = {start},
                   .end = {end},
                   .writable = flags[1] == 'w',
                   .executable = flags[2] == 'x',
                   .shared = flags[3] == 's',
                   .name = name_at > 0 ? line.substr(static_cast<std::size_t>(name_at)) : ""});
  }
  return all;
}

}  // namespace ssi::deputy
