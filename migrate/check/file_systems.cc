#include "migrate/check/file_systems.h"

#include <linux/magic.h>
#include <sys/vfs.h>

namespace ssi::check {

unsigned long FileSystems::type_of(dev_t device, const std::string& path) {
  const auto known = types_.find(device);
  if (known != types_.end()) return known->second;
  struct statfs fs {};
  if (::statfs(path.c_str(), &fs) != 0) return 0;
  return types_[device] = static_cast<unsigned long>(fs.f_type);
}

bool FileSystems::is_fuse(dev_t device, const std::string& path) {
  return type_of(device, path) == FUSE_SUPER_MAGIC;
}

bool FileSystems::is_kernels(dev_t device, const std::string& path) {
  switch (type_of(device, path)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
    case NSFS_MAGIC:  // a namespace that was mounted somewhere
      return true;
    default:
      return false;
  }
}

}  // namespace ssi::check
