#include "fs/store/file_stat.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "ssid/base/unique_fd.h"

namespace ssi::fs {
namespace {

Time time_of(const struct statx_timestamp& t) { return {t.tv_sec, t.tv_nsec}; }

}  // namespace

int FileStat::stat(int dir, const char* name, Attr& attr) {
  struct statx st {};
  const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (::statx(dir, name, flags, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) return errno;
  attr = {};
  attr.key.dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  attr.key.ino = st.stx_ino;
  // Without a birth time at least a directory is never taken for a file.
  attr.key.birth_ns = st.stx_mode & S_IFMT;
  if ((st.stx_mask & STATX_BTIME) != 0 && device(attr.key.dev, dir, name).tells_birth) {
    attr.key.birth_ns +=
        static_cast<std::uint64_t>(st.stx_btime.tv_sec) * 1'000'000'000u + st.stx_btime.tv_nsec;
  }
  attr.size = st.stx_size;
  attr.blocks = st.stx_blocks;
  attr.atime = time_of(st.stx_atime);
  attr.mtime = time_of(st.stx_mtime);
  attr.ctime = time_of(st.stx_ctime);
  attr.rdev = makedev(st.stx_rdev_major, st.stx_rdev_minor);
  attr.mode = st.stx_mode;
  attr.nlink = st.stx_nlink;
  attr.uid = st.stx_uid;
  attr.gid = st.stx_gid;
  attr.block_bytes = st.stx_blksize;
  return 0;
}

int FileStat::describe(int dir, const char* name, Attr& attr) {
  if (const int error = stat(dir, name, attr); error != 0) return error;
  if (!S_ISREG(attr.mode) && !S_ISDIR(attr.mode)) return 0;
  char path[kNameBytesMax + 40];
  const int size = std::snprintf(
      path, sizeof(path), *name == '\0' ? "/proc/self/fd/%d" : "/proc/self/fd/%d/%s", dir, name);
  if (size < 0 || static_cast<std::size_t>(size) >= sizeof(path)) return 0;
  const ssize_t names =
      *name == '\0' ? ::listxattr(path, nullptr, 0) : ::llistxattr(path, nullptr, 0);
  if (names == 0 || (names < 0 && errno == EOPNOTSUPP)) attr.flags |= Attr::kNoXattrs;
  return 0;
}

FileStat::Device FileStat::device(std::uint64_t dev, int dir, const char* name) {
  {
    std::lock_guard lock(mutex_);
    if (const auto it = devices_.find(dev); it != devices_.end()) return it->second;
  }
  Device found;
  struct statfs fs {};
  const UniqueFd fd(*name == '\0' ? ::fcntl(dir, F_DUPFD_CLOEXEC, 0)
                                  : ::openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || ::fstatfs(*fd, &fs) != 0) return found;
  const auto type = static_cast<std::uint64_t>(fs.f_type);
  // An overlay's file gets another birth time when it is copied up; its inode number stays.
  found.tells_birth = type != OVERLAYFS_SUPER_MAGIC;
  found.hidden = type == PROC_SUPER_MAGIC || type == SYSFS_MAGIC || type == CGROUP_SUPER_MAGIC ||
                 type == CGROUP2_SUPER_MAGIC || type == DEVPTS_SUPER_MAGIC;
  std::lock_guard lock(mutex_);
  return devices_.emplace(dev, found).first->second;
}

bool FileStat::is_hidden(std::uint64_t dev) {
  std::lock_guard lock(mutex_);
  if (hidden_.contains(dev)) return true;
  const auto it = devices_.find(dev);
  return it != devices_.end() && it->second.hidden;
}

void FileStat::hide(std::uint64_t dev) {
  std::lock_guard lock(mutex_);
  hidden_.insert(dev);
}

void FileStat::unhide(std::uint64_t dev) {
  std::lock_guard lock(mutex_);
  hidden_.erase(dev);
  devices_.erase(dev);  // the number may be used again by another file system
}

}  // namespace ssi::fs
