#include "fs/store/act_as.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ssi::fs {
namespace {

// setfsuid() to a user takes the file capabilities out of the effective set; they are still
// permitted.
void raise_file_capabilities() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &head, data) != 0) return;
  const std::uint32_t wanted = (1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH) |
                               (1u << CAP_FOWNER) | (1u << CAP_MKNOD);
  data[0].effective |= wanted & data[0].permitted;
  ::syscall(SYS_capset, &head, data);
}

}  // namespace

void prepare_thread_for_acting() {
  ::unshare(CLONE_FS);  // where it may not (no CAP_SYS_ADMIN is needed for it), the umask is the
                        // process's
  ::umask(0);
}

ActAs::ActAs(std::uint32_t uid, std::uint32_t gid, std::uint32_t umask) : uid_(uid), gid_(gid) {
  if (gid_ != 0) ::setfsgid(gid_);
  if (uid_ != 0) {
    ::setfsuid(uid_);
    raise_file_capabilities();
  }
  ::umask(umask);
}

ActAs::~ActAs() {
  ::umask(0);
  if (uid_ != 0) ::setfsuid(0);
  if (gid_ != 0) ::setfsgid(0);
}

}  // namespace ssi::fs
