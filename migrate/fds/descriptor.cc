#include "migrate/fds/descriptor.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "ssid/base/process_handle.h"

namespace ssi::fds {

Result<UniqueFd> descriptor_of(pid_t pid, int number) {
  SSI_ASSIGN(const auto process, ProcessHandle::open(pid));
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.pidfd(), number, 0)));
  if (!fd && errno == EBADF) {
    return Error(ErrorCode::kBusy, "it has just closed descriptor " + std::to_string(number));
  }
  if (!fd) return Error::from_errno("take descriptor " + std::to_string(number));
  return fd;
}

}  // namespace ssi::fds
