#include "migrate/fds/inotify.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "migrate/fds/descriptor.h"
#include "ssid/base/file_text.h"
#include "ssid/base/proc_status.h"

namespace ssi::fds {
namespace {

constexpr unsigned long kSetNextNumber = _IOW('I', 0, std::int32_t);  // INOTIFY_IOC_SETNEXTWD

constexpr std::uint32_t kAskedFor = IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK;

Error refused(const std::string& why) { return Error(ErrorCode::kRefused, why); }

std::string fd_link(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// What stands after " NAME:" in a line.
std::optional<std::string_view> field(std::string_view line, const std::string& name) {
  const std::string wanted = " " + name + ":";
  const std::size_t at = line.find(wanted);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = line.substr(at + wanted.size());
  return rest.substr(0, rest.find(' '));
}

template <typename T>
bool take_hex(std::optional<std::string_view> text, T& value) {
  if (!text || text->empty()) return false;
  const auto [end, bad] = std::from_chars(text->data(), text->data() + text->size(), value, 16);
  return bad == std::errc{} && end == text->data() + text->size();
}

bool take_bytes(std::optional<std::string_view> text, std::string& bytes) {
  if (!text || text->size() % 2 != 0 || text->size() / 2 > MAX_HANDLE_SZ) return false;
  for (std::size_t i = 0; i < text->size(); i += 2) {
    unsigned int byte = 0;
    if (!take_hex(text->substr(i, 2), byte)) return false;
    bytes.push_back(static_cast<char>(byte));
  }
  return !bytes.empty();
}

bool parse_line(std::string_view line, WatchLine& parsed) {
  std::uint64_t device = 0;
  unsigned int type = 0, number = 0;
  if (!take_hex(field(line, "wd"), number) || !take_hex(field(line, "ino"), parsed.watch.inode) ||
      !take_hex(field(line, "sdev"), device) || !take_hex(field(line, "mask"), parsed.watch.mask) ||
      !take_hex(field(line, "fhandle-type"), type) ||
      !take_bytes(field(line, "f_handle"), parsed.handle)) {
    return false;
  }
  parsed.watch.number = static_cast<int>(number);
  // As the kernel numbers it for itself.
  parsed.device =
      makedev(static_cast<unsigned int>(device >> 20), static_cast<unsigned int>(device & 0xfffff));
  parsed.handle_type = static_cast<int>(type);
  return true;
}

UniqueFd open_handle(int mount, const WatchLine& line) {
  alignas(file_handle) char memory[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* const handle = reinterpret_cast<file_handle*>(memory);
  handle->handle_bytes = static_cast<unsigned int>(line.handle.size());
  handle->handle_type = line.handle_type;
  std::memcpy(handle->f_handle, line.handle.data(), line.handle.size());
  return UniqueFd(::open_by_handle_at(mount, handle, O_PATH | O_CLOEXEC));
}

// Where a process has file systems, by their devices.
using Mounts = std::map<std::uint64_t, std::vector<UniqueFd>>;

std::vector<UniqueFd> open_mounts(pid_t pid, std::uint64_t device) {
  const std::string root = "/proc/" + std::to_string(pid) + "/root";
  std::vector<UniqueFd> found;
  std::ifstream mounts("/proc/" + std::to_string(pid) + "/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, numbers, below, place;
    words >> id >> parent >> numbers >> below >> place;
    unsigned int major = 0, minor = 0;
    if (std::sscanf(numbers.c_str(), "%u:%u", &major, &minor) != 2) continue;
    if (makedev(major, minor) != device) continue;
    UniqueFd mount(::open((root + place).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (mount) found.push_back(std::move(mount));
  }
  return found;
}

bool is_file(const struct stat& st, const WatchLine& line) {
  return st.st_dev == line.device && st.st_ino == line.watch.inode;
}

bool has_open(pid_t pid, const WatchLine& line) {
  const std::string dir = "/proc/" + std::to_string(pid) + "/fd";
  const std::unique_ptr<DIR, int (*)(DIR*)> fds(::opendir(dir.c_str()), &::closedir);
  while (const dirent* entry = fds ? ::readdir(fds.get()) : nullptr) {
    struct stat st {};
    if (::fstatat(::dirfd(fds.get()), entry->d_name, &st, 0) == 0 && is_file(st, line)) return true;
  }
  return false;
}

// The name by which others find the same file.
Result<std::string> path_of(pid_t pid, const WatchLine& line, Mounts& mounts) {
  const std::string root = "/proc/" + std::to_string(pid) + "/root";
  if (!mounts.contains(line.device)) mounts[line.device] = open_mounts(pid, line.device);
  for (const UniqueFd& mount : mounts[line.device]) {
    const UniqueFd file = open_handle(*mount, line);
    struct stat st {};
    if (!file || ::fstat(*file, &st) != 0 || !is_file(st, line)) continue;
    if (st.st_nlink == 0) {
      if (S_ISDIR(st.st_mode)) return refused("with a watch on a deleted directory");
      if (!has_open(pid, line)) {
        return refused("with a watch on a deleted file that the process does not have open");
      }
      return std::string();
    }
    char path[4096];
    const ssize_t size = ::readlink(fd_link(*file).c_str(), path, sizeof path);
    if (size <= 0 || path[0] != '/') continue;
    std::string name(path, static_cast<std::size_t>(size));
    if (::lstat((root + name).c_str(), &st) == 0 && is_file(st, line)) return name;
  }
  return refused("with a watch on a file whose name can't be found");
}

template <typename Each>
Result<> for_each_watcher(const std::vector<pid_t>& pids, const Each& each) {
  for (const pid_t pid : pids) {
    const std::string dir = "/proc/" + std::to_string(pid) + "/fd";
    const std::unique_ptr<DIR, int (*)(DIR*)> fds(::opendir(dir.c_str()), &::closedir);
    while (const dirent* entry = fds ? ::readdir(fds.get()) : nullptr) {
      char target[32];
      const ssize_t size = ::readlinkat(::dirfd(fds.get()), entry->d_name, target, sizeof target);
      if (size <= 0 ||
          std::string_view(target, static_cast<std::size_t>(size)) != "anon_inode:inotify") {
        continue;
      }
      SSI_TRY(each(pid, std::atoi(entry->d_name)));
    }
  }
  return {};
}

Result<int> unread_bytes(int inotify) {
  int bytes = 0;
  if (::ioctl(inotify, FIONREAD, &bytes) != 0) return Error::from_errno("look at an inotify");
  return bytes;
}

}  // namespace

std::vector<WatchLine> parse_watches(std::string_view fdinfo) {
  std::vector<WatchLine> all;
  while (!fdinfo.empty()) {
    const std::string_view line = fdinfo.substr(0, fdinfo.find('\n'));
    fdinfo.remove_prefix(std::min(line.size() + 1, fdinfo.size()));
    WatchLine parsed;
    if (line.starts_with("inotify ") && parse_line(line, parsed)) all.push_back(std::move(parsed));
  }
  // Newest first is how the kernel tells them.
  std::ranges::sort(all, {}, [](const WatchLine& line) { return line.watch.number; });
  return all;
}

bool any_watcher(const std::vector<pid_t>& pids) {
  return !for_each_watcher(pids, [](pid_t, int) -> Result<> { return Error("there is one"); });
}

Result<Watcher> watcher_of(pid_t pid, int number) {
  SSI_ASSIGN(const UniqueFd inotify, descriptor_of(pid, number));
  const int flags = ::fcntl(*inotify, F_GETFL);
  if (flags < 0) return Error::from_errno("look at an inotify");
  if ((flags & O_ASYNC) != 0) return refused("that sends signals (O_ASYNC)");
  Watcher watcher{innermost_pid(pid), number, static_cast<std::uint32_t>(flags), {}};
  const std::string info =
      text_of_file("/proc/" + std::to_string(pid) + "/fdinfo/" + std::to_string(number));
  Mounts mounts;
  for (WatchLine& line : parse_watches(info)) {
    SSI_ASSIGN(line.watch.path, path_of(pid, line, mounts));
    watcher.watches.push_back(std::move(line.watch));
  }
  return watcher;
}

Result<std::vector<Watcher>> watchers_of(const std::vector<pid_t>& pids) {
  std::vector<Watcher> all;
  std::size_t watches = 0, name_bytes = 0;
  SSI_TRY(for_each_watcher(pids, [&](pid_t pid, int number) -> Result<> {
    SSI_ASSIGN(auto watcher, watcher_of(pid, number));
    watches += watcher.watches.size();
    for (const Watch& watch : watcher.watches) name_bytes += watch.path.size();
    all.push_back(std::move(watcher));
    if (all.size() <= kWatchersMax && watches <= kWatchesMax && name_bytes <= kNameBytesMax) {
      return {};
    }
    return refused("with more watches, or one of more instances, than can move");
  }));
  return all;
}

Result<bool> all_was_read(const std::vector<pid_t>& pids) {
  bool all = true;
  SSI_TRY(for_each_watcher(pids, [&](pid_t pid, int number) -> Result<> {
    SSI_ASSIGN(const UniqueFd inotify, descriptor_of(pid, number));
    SSI_ASSIGN(const int bytes, unread_bytes(*inotify));
    all = all && bytes == 0;
    return {};
  }));
  return all;
}

Result<UniqueFd> make_watcher(int root, const Watcher& wanted) {
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | static_cast<int>(wanted.flags & O_NONBLOCK)));
  if (!inotify) return Error::from_errno("make an inotify instance");
  for (const Watch& watch : wanted.watches) {
    if (watch.path.empty()) continue;
    open_how how{};
    how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const UniqueFd file(
        static_cast<int>(::syscall(SYS_openat2, root, watch.path.c_str(), &how, sizeof how)));
    struct stat st {};
    if (!file || ::fstat(*file, &st) != 0 || st.st_ino != watch.inode) {
      return refused("it watches " + watch.path + ", which is another file there, or none");
    }
    SSI_TRY(add_watch(*inotify, *file, watch).context(watch.path));
  }
  return inotify;
}

Result<> add_watch(int inotify, int file, const Watch& wanted) {
  if (::ioctl(inotify, kSetNextNumber, wanted.number) != 0) {
    return Error::from_errno("choose the number of a watch");
  }
  const int number = ::inotify_add_watch(inotify, fd_link(file).c_str(), wanted.mask & kAskedFor);
  if (number < 0) return Error::from_errno("watch it");
  if (number != wanted.number) return Error("a watch got another number");
  return {};
}

Result<> forget_heard(int inotify) {
  char buffer[64 << 10];
  for (;;) {
    SSI_ASSIGN(const int bytes, unread_bytes(inotify));
    if (bytes == 0) return {};
    if (::read(inotify, buffer, sizeof buffer) < 0) return Error::from_errno("read an inotify");
  }
}

}  // namespace ssi::fds
