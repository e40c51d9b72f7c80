#include "ssid/daemon/carrier_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>

#include "ssid/wire/carrier/carrier_client.h"
#include "ssid/wire/carrier/held_file.h"

namespace ssi {

namespace {

// What /proc calls it here, so that its process does not see that it moved. Not done if another
// file has the name, or its directory is gone: then it goes on to have the one by which it came.
void give_name_back(int root, const std::string& held, const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos || slash + 1 == name.size()) return;
  const std::string base = name.substr(slash + 1);
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const std::string parent = name.substr(0, slash + 1);
  const UniqueFd dir(
      static_cast<int>(::syscall(SYS_openat2, root, parent.c_str(), &how, sizeof how)));
  if (!dir || ::renameat2(root, held.c_str(), *dir, base.c_str(), RENAME_NOREPLACE) != 0) return;
  struct stat st {};
  (void)::fstatat(*dir, base.c_str(), &st, AT_SYMLINK_NOFOLLOW);  // finds nothing: it is deleted
}

}  // namespace

Result<std::uint64_t> CarrierFiles::hold(std::uint32_t home, int fd) {
  if (home == self_.value) {
    SSI_ASSIGN(auto carrier, CarrierClient::connect());
    return carrier.hold_file(fd);
  }
  HoldFile answer;
  if (::ioctl(fd, kHoldFile, &answer) == 0) return answer.id;
  char number[32] = {};
  // By a path: that is what one can ask of a path handle (O_PATH), too.
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (::getxattr(path.c_str(), kHoldAttribute, number, sizeof number - 1) > 0) {
    return std::strtoull(number, nullptr, 10);
  }
  if (errno == ENOTTY || errno == ENODATA || errno == EOPNOTSUPP)
    return Error(ErrorCode::kRefused, "it is a file of this node");
  return Error::from_errno("have it held by home");
}

Result<UniqueFd> CarrierFiles::open(std::uint32_t home, const fds::HeldFile& held) {
  if (home == self_.value) {
    SSI_ASSIGN(auto carrier, CarrierClient::connect());
    return carrier.open_held_file(held.id);
  }
  SSI_ASSIGN(const pid_t realm, realm_init_(NodeId{home}));
  const std::string path = "/proc/" + std::to_string(realm) + "/root";
  const UniqueFd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return Error::from_errno("open the realm's root");
  const std::string name = held_name(held.id);
  UniqueFd fd(::openat(*root, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Error::from_errno("open what home holds");
  give_name_back(*root, name, held.name);
  return fd;
}

Result<std::uint64_t> CarrierFiles::leave_locks(int fd, pid_t pid, const fds::HeldFile& file) {
  HoldLocksOf locks;
  locks.pid = pid;
  locks.number = file.number;
  for (const LockRange& range : file.locks) {
    for (const std::uint64_t part : {range.start, range.end, std::uint64_t{range.type}}) {
      locks.ranges.push_back(part);
    }
  }
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  return carrier.hold_locks(fd, locks);
}

Result<std::uint64_t> CarrierFiles::hold_locks(std::uint32_t, int fd, pid_t pid) {
  HoldLocks locks;
  locks.pid = pid;
  if (::ioctl(fd, kHoldLocks, &locks) != 0) return Error::from_errno("have its locks held by home");
  return locks.id;
}

Result<> CarrierFiles::expect_locks(std::uint32_t home, const fds::HeldFile& held) {
  const std::string path = root_of_(NodeId{home}) + "/" + held_name(held.id);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Error::from_errno("open what home holds");
  ExpectLocks expected;
  expected.id = held.id;
  expected.pid = held.pid;
  if (::ioctl(*fd, kExpectLocks, &expected) != 0) return Error::from_errno("expect its locks");
  return {};
}

Result<> CarrierFiles::expect_opening(std::uint32_t home, const fds::HeldFile& held) {
  ExpectOpening expected;
  expected.id = held.id;
  expected.pid = held.pid;
  if (::setxattr(root_of_(NodeId{home}).c_str(), kExpectOpeningAttribute, &expected,
                 sizeof expected, 0) != 0) {
    return Error::from_errno("expect what home holds to be opened");
  }
  return {};
}

// Whoever comes second finds nothing.
void CarrierFiles::release(std::uint32_t home, const fds::HeldFile& held) {
  if (home == self_.value) {
    if (auto carrier = CarrierClient::connect()) (void)carrier->release_file(held.id);
    return;
  }
  const std::string path = root_of_(NodeId{home}) + "/" + held_name(held.id, kReleaseNamePrefix);
  (void)::access(path.c_str(), F_OK);
}

}  // namespace ssi
