#include "loadlevel/metrics/proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstddef>
#include <cstring>

namespace ssi {
namespace {

constexpr std::size_t kReadMax = 1024 * 1024;  // mountinfo may be long; nothing read here is longer

// "PID/NAME" or "PID/task/TID/NAME" without allocation.
class ShortPath {
 public:
  ShortPath& number(pid_t n) {
    at_ = std::to_chars(at_, end(), n).ptr;
    return *this;
  }
  ShortPath& text(std::string_view s) {
    SSI_CHECK(s.size() < static_cast<std::size_t>(end() - at_));
    at_ = std::copy(s.begin(), s.end(), at_);
    return *this;
  }
  const char* c_str() {
    *at_ = '\0';
    return path_.data();
  }

 private:
  char* end() { return path_.data() + path_.size() - 1; }
  std::array<char, 128> path_;
  char* at_ = path_.data();
};

}  // namespace

ProcFiles::ProcFiles(UniqueFd root) : root_(std::move(root)), buffer_(16 * 1024) {}

Result<ProcFiles> ProcFiles::open(const std::string& root) {
  UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error::from_errno("open " + root);
  return ProcFiles(std::move(fd));
}

bool ProcFiles::list(int dir_fd, std::vector<PidEntry>& out) {
  out.clear();
  if (::lseek(dir_fd, 0, SEEK_SET) < 0) return false;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, dir_fd, buffer_.data(), buffer_.size());
    if (got < 0) return false;
    if (got == 0) break;
    // struct linux_dirent64: u64 inode, s64 offset, u16 length, u8 type, name.
    for (long at = 0; at < got;) {
      const char* entry = buffer_.data() + at;
      std::uint64_t inode = 0;
      std::uint16_t length = 0;
      std::memcpy(&inode, entry, sizeof inode);
      std::memcpy(&length, entry + 16, sizeof length);
      const char* name = entry + 19;
      if (*name >= '1' && *name <= '9') {
        const std::size_t size = std::strlen(name);
        pid_t pid = 0;
        const auto [end, err] = std::from_chars(name, name + size, pid);
        if (err == std::errc{} && end == name + size) out.push_back({pid, inode});
      }
      at += length;
    }
  }
  if (!std::is_sorted(out.begin(), out.end(), [](auto& a, auto& b) { return a.pid < b.pid; })) {
    std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  }
  return true;
}

bool ProcFiles::list_processes(std::vector<PidEntry>& out) { return list(*root_, out); }

bool ProcFiles::list_threads(pid_t pid, std::vector<PidEntry>& out) {
  out.clear();
  ShortPath path;
  const UniqueFd fd(
      ::openat(*root_, path.number(pid).text("/task").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && list(*fd, out);
}

UniqueFd ProcFiles::open_file(pid_t pid, const char* name) {
  ShortPath path;
  return UniqueFd(
      ::openat(*root_, path.number(pid).text("/").text(name).c_str(), O_RDONLY | O_CLOEXEC));
}

std::string_view ProcFiles::read_again(const UniqueFd& fd) {
  std::size_t size = 0;
  while (fd) {
    const ssize_t got =
        ::pread(*fd, buffer_.data() + size, buffer_.size() - size, static_cast<off_t>(size));
    if (got < 0) return {};
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
    if (got < 1024) break;  // short files come whole; the long ones in pieces of 2 to 4 KiB
    if (size == buffer_.size()) {
      if (size >= kReadMax) break;
      buffer_.resize(size * 2);
    }
  }
  return {buffer_.data(), size};
}

std::string_view ProcFiles::read(pid_t pid, const char* name) {
  return read_again(open_file(pid, name));
}

std::string_view ProcFiles::read(const char* name) {
  return read_again(UniqueFd(::openat(*root_, name, O_RDONLY | O_CLOEXEC)));
}

std::string_view ProcFiles::read_thread(pid_t pid, pid_t tid, const char* name) {
  ShortPath path;
  path.number(pid).text("/task/").number(tid).text("/").text(name);
  return read_again(UniqueFd(::openat(*root_, path.c_str(), O_RDONLY | O_CLOEXEC)));
}

std::string ProcFiles::read_link(pid_t pid, const char* name) {
  ShortPath path;
  path.number(pid).text("/").text(name);
  std::array<char, PATH_MAX + 1> target;
  const ssize_t got = ::readlinkat(*root_, path.c_str(), target.data(), target.size());
  if (got <= 0 || static_cast<std::size_t>(got) == target.size()) return {};
  return {target.data(), static_cast<std::size_t>(got)};
}

}  // namespace ssi
