#include "fs/view/waiting_requests.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace ssi::fs {
namespace {

UniqueFd make_mount() {
  const UniqueFd system(static_cast<int>(::syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC)));
  if (!system) return {};
  if (::syscall(SYS_fsconfig, *system, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return {};
  return UniqueFd(
      static_cast<int>(::syscall(SYS_fsmount, *system, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)));
}

}  // namespace

std::optional<std::size_t> WaitingRequests::count(std::uint64_t device) {
  std::lock_guard lock(mutex_);
  if (!mount_) mount_ = make_mount();
  const std::string name = std::to_string(minor(device)) + "/waiting";
  const UniqueFd file(::openat(*mount_, name.c_str(), O_RDONLY | O_CLOEXEC));
  char text[32] = {};
  if (!file || ::read(*file, text, sizeof text - 1) <= 0) return {};
  return std::strtoul(text, nullptr, 10);
}

}  // namespace ssi::fs
