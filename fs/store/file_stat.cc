#include "fs/store/file_stat.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

#include "ssid/base/mount_table.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {
namespace {

constexpr std::int64_t kFuseKnownMs = 5000;

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Time time_of(const struct statx_timestamp& t) { return {t.tv_sec, t.tv_nsec}; }

}  // namespace

int FileStat::stat(int dir, const char* name, Attr& attr) { return stat(dir, name, 0, attr); }

int FileStat::stat(int dir, const char* name, int flags, Attr& attr) {
  struct statx st {};
  flags |= AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (::statx(dir, name, flags, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) return errno;
  attr = {};
  attr.key.dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  attr.key.ino = st.stx_ino;
  // Without a birth time at least a directory is never taken for a file.
  attr.key.birth_ns = st.stx_mode & S_IFMT;
  // Also the file system is only asked if it may be.
  const bool tells_birth =
      (flags & AT_STATX_DONT_SYNC) == 0 && device(attr.key.dev, dir, name).tells_birth;
  if ((st.stx_mask & STATX_BTIME) != 0 && tells_birth) {
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

int FileStat::describe_hidden(int dir, const char* name, Attr& attr) {
  if (const int error = stat(dir, name, AT_STATX_DONT_SYNC, attr); error != 0) return error;
  if (!S_ISDIR(attr.mode)) return 0;
  attr.mode = S_IFDIR | 0555;
  attr.nlink = 2;
  attr.flags |= Attr::kNoXattrs;
  return 0;
}

FileStat::Device FileStat::device(std::uint64_t dev, int dir, const char* name) {
  {
    std::lock_guard lock(mutex_);
    const auto it = devices_.find(dev);
    if (it != devices_.end() &&
        (it->second.forgotten_ms == 0 || now_ms() < it->second.forgotten_ms)) {
      return it->second;
    }
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
  if (type == FUSE_SUPER_MAGIC) {
    found.is_view = mounted_type(major(dev), minor(dev)) == "fuse.ssid";
    found.forgotten_ms = now_ms() + kFuseKnownMs;
  }
  std::lock_guard lock(mutex_);
  return devices_[dev] = found;
}

bool FileStat::is_hidden(std::uint64_t dev, Client client) {
  std::lock_guard lock(mutex_);
  if (hidden_.contains(dev)) return true;
  const auto it = devices_.find(dev);
  if (it == devices_.end()) return false;
  return it->second.hidden || (it->second.is_view && client == Client::kNodes);
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
