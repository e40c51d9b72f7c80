#include "ssid/carrier/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace ssi {
namespace {

// The kernel's calls and not libcap: a thread of the store raises some again by itself
// (fs/store/act_as.cc).
constexpr int kNeeded[] = {
    CAP_CHOWN,        CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
    CAP_FSETID,  // home's files, as its root
    CAP_MKNOD,        CAP_SETFCAP,      CAP_LINUX_IMMUTABLE, CAP_LEASE,  //
    CAP_SETUID,       CAP_SETGID,                                        // files belong to guests
    CAP_SYS_ADMIN,     // mount, trusted.* attributes
    CAP_SYS_RESOURCE,  // large pipes, reserved blocks
    CAP_SYS_PTRACE,    // is the guest that waits for us being killed? (/proc may be mounted with
                       // hidepid)
};

}  // namespace

Result<> keep_needed_capabilities() {
  std::uint64_t needed = 0;
  for (const int capability : kNeeded) needed |= std::uint64_t{1} << capability;
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if ((needed >> capability & 1) != 0) continue;
    // Fails for one that the kernel does not have: then we don't have it either.
    (void)::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &head, data) != 0) return Error::from_errno("capget");
  for (int half = 0; half < 2; ++half) {
    const auto mask = static_cast<std::uint32_t>(needed >> (32 * half));
    data[half].permitted &= mask;
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  if (::syscall(SYS_capset, &head, data) != 0) return Error::from_errno("capset");
  return {};
}

}  // namespace ssi
