#include "migrate/fds/pidfd.h"

#include <fcntl.h>

#include <cstdlib>

namespace ssi::fds {

pid_t pidfd_target(const std::string& fdinfo) {
  constexpr std::string_view kName = "Pid:";
  const std::size_t at = fdinfo.starts_with(kName) ? 0 : fdinfo.find("\nPid:");
  if (at == std::string::npos) return 0;
  return std::atoi(fdinfo.c_str() + at + (at == 0 ? kName.size() : kName.size() + 1));
}

std::optional<std::string> pidfd_why_not(pid_t target, std::uint32_t flags,
                                         const std::set<pid_t>& moving) {
  constexpr std::uint32_t kOfThread = O_EXCL;  // PIDFD_THREAD
  if ((flags & kOfThread) != 0) return "of one thread";
  if (moving.contains(target) || target == -1) return {};
  if (target == 0) return "of a process that can't be seen from here";
  return "of process " + std::to_string(target) + ", which stays";
}

}  // namespace ssi::fds
