#include "migrate/fds/lease.h"

#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "migrate/fds/descriptor.h"

namespace ssi::fds {
namespace {

Lease lease_of(pid_t pid, int number) {
  std::ostringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/fdinfo/" + std::to_string(number))
              .rdbuf();
  return parse_lease(text.str());
}

}  // namespace

Result<LeaseSignal> lease_signal_of(int fd) {
  f_owner_ex owner{};
  const int number = ::fcntl(fd, F_GETSIG);
  if (number < 0 || ::fcntl(fd, F_GETOWN_EX, &owner) != 0) {
    return Error::from_errno("look whom a lease tells");
  }
  return LeaseSignal{owner.pid == 0 || owner.type == F_OWNER_PID ? owner.pid : -1, number};
}

std::string lease_that_stays(const HeldLocks& locks, std::uint32_t flags) {
  const Lease& lease = locks.lease;
  if (!lease.any()) return {};
  if (!locks.lease_of_home) {
    return "a lease (fcntl) that it took away from home, where somebody has the file open";
  }
  // Such ones come of breaking. The kernel takes none for reading by a descriptor for writing.
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (lease.type == F_RDLCK && writes != (lease.breaking != 0)) {
    return "a lease (fcntl) that was for writing and became one for reading, which can't be taken "
           "anew";
  }
  return {};
}

bool excludes_openings(const Lease& lease) { return lease.type == F_WRLCK || lease.breaking != 0; }

void silence_leases(pid_t pid) {
  std::error_code gone;
  const std::filesystem::directory_iterator fds("/proc/" + std::to_string(pid) + "/fdinfo", gone);
  for (const auto& entry : fds) {
    const int number = std::atoi(entry.path().filename().c_str());
    if (!lease_of(pid, number).any()) continue;
    if (const auto fd = descriptor_of(pid, number)) (void)::fcntl(**fd, F_SETOWN, 0);
  }
}

// criu has it take the lease again, which makes it the one to be told if nobody is.
Result<> prepare_lease(int fd, const HeldFile& held) {
  if (::fcntl(fd, F_SETSIG, held.lease_signal) != 0 || ::fcntl(fd, F_SETOWN, 0) != 0) {
    return Error::from_errno("prepare a lease");
  }
  return {};
}

Result<> finish_lease(pid_t pid, pid_t owner, const HeldFile& held) {
  SSI_ASSIGN(const UniqueFd fd, descriptor_of(pid, held.number));
  const f_owner_ex told{F_OWNER_PID, owner};
  if (::fcntl(*fd, F_SETSIG, held.lease_signal) != 0 || ::fcntl(*fd, F_SETOWN_EX, &told) != 0)
    return Error::from_errno("name whom a lease tells");
  // From here on it is told itself. Before, nobody was.
  if (lease_of(pid, held.number) == held.lease) return {};
  return Error("the lease of descriptor " + std::to_string(held.number) + " (" + held.name +
               ") was broken meanwhile");
}

}  // namespace ssi::fds
