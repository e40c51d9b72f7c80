#include "ssid/daemon/capabilities.h"

#include <sys/capability.h>

#include <array>
#include <memory>

namespace ssi {

Result<> keep_needed_capabilities() {
  constexpr std::array<cap_value_t, 10> kWanted = {
      CAP_SYS_PTRACE,       // facts and descriptors of others' processes, deputies
      CAP_SYS_ADMIN,        // freezer attributes, PID allocator
      CAP_KILL,             // deputies, copies that must not live
      CAP_DAC_OVERRIDE,     // cgroup tree, /run/ssid
      CAP_DAC_READ_SEARCH,  // other users' /proc
      CAP_FOWNER,
      CAP_CHOWN,
      CAP_NET_ADMIN,     // large socket buffers
      CAP_SYS_RESOURCE,  // pipe sizes, limits
      CAP_SYS_NICE,      // timer slack
  };
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> now(cap_get_proc(), cap_free);
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> kept(cap_init(), cap_free);
  if (!now || !kept) return Error::from_errno("capabilities");
  for (const cap_value_t c : kWanted) {
    cap_flag_value_t have = CAP_CLEAR;
    if (cap_get_flag(now.get(), c, CAP_PERMITTED, &have) != 0 || have != CAP_SET) continue;
    if (cap_set_flag(kept.get(), CAP_PERMITTED, 1, &c, CAP_SET) != 0 ||
        cap_set_flag(kept.get(), CAP_EFFECTIVE, 1, &c, CAP_SET) != 0) {
      return Error::from_errno("capabilities");
    }
  }
  if (cap_set_proc(kept.get()) != 0) return Error::from_errno("drop capabilities");
  return {};
}

Result<> let_deputies_choose_pids(const std::string& stub_path) {
  constexpr cap_value_t kChoosesPids = CAP_CHECKPOINT_RESTORE;
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> wanted(cap_init(), cap_free);
  if (!wanted || cap_set_flag(wanted.get(), CAP_PERMITTED, 1, &kChoosesPids, CAP_SET) != 0) {
    return Error::from_errno("capabilities");
  }
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> now(
      cap_get_file(stub_path.c_str()), cap_free);
  if (now && cap_compare(now.get(), wanted.get()) == 0) return {};
  if (cap_set_file(stub_path.c_str(), wanted.get()) != 0) {
    return Error::from_errno("set capabilities of " + stub_path);
  }
  return {};
}

}  // namespace ssi
