#include "migrate/fds/shm_series.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

namespace ssi::fds {
namespace {

namespace fs = std::filesystem;

using Series = std::pair<std::string, uid_t>;

// Whether it has one of the series open, or mapped, on the file system `device`.
bool has_any_of(pid_t pid, const std::string& series, dev_t device) {
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  const std::string begins = "/dev/shm/" + series;
  struct stat st {};
  std::ifstream maps(proc + "maps");
  for (std::string line; std::getline(maps, line);) {
    const auto at = line.find(begins);
    if (at == std::string::npos) continue;
    const std::string range = proc + "map_files/" + line.substr(0, line.find(' '));
    if (::stat(range.c_str(), &st) == 0 && st.st_dev == device) return true;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(proc + "fd", error)) {
    if (!fs::read_symlink(entry.path(), error).string().starts_with(begins)) continue;
    if (::stat(entry.path().c_str(), &st) == 0 && st.st_dev == device) return true;
  }
  return false;
}

bool anybody_else_has(const std::vector<pid_t>& pids, const std::string& series, dev_t device) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || std::ranges::find(pids, pid) != pids.end()) continue;
    if (has_any_of(pid, series, device)) return true;
  }
  return false;
}

}  // namespace

std::string_view series_of(std::string_view name) {
  const auto last = name.find_last_of("._-");
  if (last == std::string_view::npos || last + 1 == name.size()) return {};
  if (name.find_first_not_of("0123456789abcdef", last + 1) != std::string_view::npos) return {};
  return name.substr(0, last + 1);
}

std::vector<std::string> closed_shm_files(const std::vector<pid_t>& pids,
                                          const std::set<std::string>& open) {
  if (pids.empty() || open.empty()) return {};
  const std::string dir = "/proc/" + std::to_string(pids.front()) + "/root/dev/shm";
  struct stat at {};
  if (::stat(dir.c_str(), &at) != 0) return {};
  std::set<Series> own;
  std::vector<std::pair<Series, std::string>> closed;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    struct stat st {};
    const std::string name = entry.path().filename().string();
    const std::string series(series_of(name));
    if (series.empty() || ::lstat(entry.path().c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    if (open.contains(name)) {
      own.emplace(series, st.st_uid);
    } else {
      closed.emplace_back(Series(series, st.st_uid), name);
    }
  }
  std::erase_if(closed, [&](const auto& file) { return !own.contains(file.first); });
  std::set<std::string> asked, others;
  std::vector<std::string> names;
  for (const auto& [series, name] : closed) {
    if (asked.insert(series.first).second && anybody_else_has(pids, series.first, at.st_dev))
      others.insert(series.first);
    if (!others.contains(series.first)) names.push_back(name);
  }
  return names;
}

}  // namespace ssi::fds
