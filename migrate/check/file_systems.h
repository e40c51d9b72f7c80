// Of which kind file systems are, each asked once: for one look only, for a device's number may
// become another's. A view asks home, so it would be asked of each open file of each process. One
// thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace ssi::check {

class FileSystems {
 public:
  // `device`: of what is at `path`.
  bool is_fuse(dev_t device, const std::string& path);
  // /proc, /sys, cgroups and their like: its content belongs to this machine.
  bool is_kernels(dev_t device, const std::string& path);

 private:
  unsigned long type_of(dev_t device, const std::string& path);
  std::map<dev_t, unsigned long> types_;
};

}  // namespace ssi::check
