#include "migrate/fds/files_in_use.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

namespace ssi::fds {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

struct Found {
  std::map<std::string, bool> written;  // by path
  std::set<std::string> leased;
};

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool is_named(std::string_view path) { return path.starts_with('/') && !path.ends_with(kDeleted); }

void find_open(const std::string& proc, Found& found) {
  DIR* const dir = ::opendir((proc + "/fd").c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string number = entry->d_name, file = proc + "/fd/" + number;
    char target[4096];
    const ssize_t size = ::readlink(file.c_str(), target, sizeof target);
    if (size <= 0) continue;
    const std::string path(target, static_cast<std::size_t>(size));
    struct stat st {};
    if (!is_named(path) || ::stat(file.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    const std::string info = text_of(proc + "/fdinfo/" + number);
    if (info.find("LEASE") != std::string::npos) found.leased.insert(path);
    const std::size_t at = info.find("flags:");
    if (at == std::string::npos) continue;
    const auto flags = std::strtoul(info.c_str() + at + 6, nullptr, 8);
    bool& written = found.written[path];
    written = written || (flags & O_ACCMODE) == O_RDWR;
  }
  ::closedir(dir);
}

void find_mapped(const std::string& proc, Found& found) {
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find('/');
    if (at == std::string::npos) continue;
    const std::string path = line.substr(at);
    if (is_named(path) && !path.starts_with("/dev/")) found.written.try_emplace(path, false);
  }
}

UniqueFd path_below(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

}  // namespace

std::vector<FileInUse> files_in_use(std::span<const pid_t> pids) {
  Found found;
  for (const pid_t pid : pids) {
    const std::string proc = "/proc/" + std::to_string(pid);
    find_open(proc, found);
    find_mapped(proc, found);
  }
  std::vector<FileInUse> files;
  for (const auto& [path, written] : found.written) {
    if (files.size() == kFilesInUseMax) break;
    if (!found.leased.contains(path)) files.push_back({path, written});
  }
  return files;
}

void look_for_files(int root, std::span<const FileInUse> files) {
  for (const FileInUse& file : files) {
    const UniqueFd path = path_below(root, file.path);
    struct stat st {};
    if (path) (void)::fstat(*path, &st);
  }
}

std::vector<UniqueFd> open_files(int root, std::span<const FileInUse> files) {
  std::vector<UniqueFd> opened;
  for (const FileInUse& file : files) {
    const UniqueFd path = path_below(root, file.path);
    struct stat st {};
    if (!path || ::fstat(*path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
    const std::string link = "/proc/self/fd/" + std::to_string(*path);
    const int flags = (file.written ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    UniqueFd fd(::open(link.c_str(), flags));
    if (fd) opened.push_back(std::move(fd));
  }
  return opened;
}

}  // namespace ssi::fds
