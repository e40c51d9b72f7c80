#include "migrate/fds/held_file.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "migrate/fds/descriptor.h"
#include "migrate/fds/lease.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/record_lock.h"
#include "ssid/wire/carrier/held_file.h"

namespace ssi::fds {
namespace {

// An own opening, only for looking: what has no descriptor has no state of one.
Result<UniqueFd> open_by_path(pid_t pid, const std::string& where) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + where;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return Error::from_errno("open " + path);
  return fd;
}

// One more owner of locks that the process has: for reading, so it can have them, too. With one for
// writing they stay its own.
Result<UniqueFd> open_with_locks(const FileToHold& wanted) {
  const std::string path = "/proc/" + std::to_string(wanted.pid) + "/" + wanted.where;
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno("open " + path);
  if (stays_with_deputy(wanted)) return fd;
  for (const LockRange& range : wanted.locks) {
    const std::int64_t length = range.end == INT64_MAX ? 0 : range.end - range.start + 1;
    struct flock lock = record_lock(static_cast<short>(range.type), range.start, length);
    if (::fcntl(*fd, F_OFD_SETLK, &lock) != 0) return Error::from_errno("share its lock");
  }
  return fd;
}

Result<UniqueFd> open_to_hold(const FileToHold& wanted) {
  if (wanted.of_process && !wanted.at_home) return open_with_locks(wanted);
  if (wanted.number >= 0) return descriptor_of(wanted.pid, wanted.number);
  return open_by_path(wanted.pid, wanted.where);
}

Result<long> mount_of(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string word; info >> word;) {
    long mount = 0;
    if (word == "mnt_id:" && info >> mount) return mount;
  }
  return Error("the kernel does not tell on which mount a file is");
}

// "/tmp/x (deleted)": the kernel adds that.
std::string former_name(std::string name) {
  constexpr std::string_view kDeleted = " (deleted)";
  if (name.ends_with(kDeleted)) name.resize(name.size() - kDeleted.size());
  return name.starts_with("/") ? name : "";
}

}  // namespace

std::string file_key(long mount, std::uint64_t inode) {
  char key[64];
  std::snprintf(key, sizeof key, "file[%lx:%lx]", mount, static_cast<unsigned long>(inode));
  return key;
}

Result<TakenFile> take_file(const FileToHold& wanted) {
  TakenFile taken;
  SSI_ASSIGN(taken.fd, open_to_hold(wanted));
  struct stat st {};
  if (::fstat(*taken.fd, &st) != 0) return Error::from_errno("look at " + wanted.where);
  taken.file = {.pid = innermost_pid(wanted.pid),
                .number = wanted.number,
                .flags = wanted.flags,
                .position = wanted.position,
                .flock = wanted.flock,
                .locks = wanted.locks,
                .name = former_name(wanted.name),
                .of_process = wanted.of_process,
                .lease = wanted.lease};
  if (wanted.lease.any()) {
    SSI_ASSIGN(const LeaseSignal signal, lease_signal_of(*taken.fd));
    taken.file.lease_signal = signal.number;
    taken.file.lease_owner = innermost_pid(signal.to);
  }
  if (wanted.nameless) {
    SSI_ASSIGN(const long mount, mount_of(*taken.fd));
    taken.file.key = file_key(mount, st.st_ino);
  }
  return taken;
}

Result<> adopt_file(pid_t pid, const HeldFile& held) {
  SSI_ASSIGN(const UniqueFd fd, descriptor_of(pid, held.number));
  AdoptFile adopt;
  adopt.id = held.id;
  adopt.flock = held.flock;
  if (held.locks.size() > kLockRangesMax) return Error("it has too many record locks");
  adopt.ranges = static_cast<std::uint32_t>(held.locks.size());
  std::ranges::copy(held.locks, adopt.range);
  adopt.lease = held.lease;
  adopt.pid = pid;
  adopt.number = held.number;
  if (::ioctl(*fd, kAdoptFile, &adopt) != 0) {
    return Error::from_errno("take the lock of descriptor " + std::to_string(held.number) +
                             " over");
  }
  return {};
}

namespace {

// Too many stay too many.
std::vector<LockRange> ranges_of(const LockRange* told, std::uint32_t count) {
  std::vector<LockRange> ranges(told, told + std::min(count, kLockRangesMax));
  ranges.resize(count);
  return ranges;
}

}  // namespace

HeldLocks locks_in_view(pid_t pid, int number, bool leased) {
  HeldLocks locks;
  FileLocks told;
  told.pid = pid;
  told.number = number;
  told.leased = leased ? 1 : 0;
  const auto fd = descriptor_of(pid, number);
  if (!fd || ::ioctl(**fd, kAskLocks, &told) != 0) return locks;
  locks.flock = told.flock;
  locks.of_file = ranges_of(told.range, told.ranges);
  locks.of_process = ranges_of(told.process_range, told.process_ranges);
  locks.at_home = told.for_guests != 0;
  locks.lease_of_home = told.leased != 0;
  return locks;
}

Result<> set_as_it_was(int fd, const HeldFile& held) {
  // The only flags of a file that can be set afterwards; the others are those of its opening.
  if (::fcntl(fd, F_SETFL, static_cast<int>(held.flags)) != 0 ||
      ::lseek(fd, static_cast<off_t>(held.position), SEEK_SET) < 0) {
    return Error::from_errno("set a held file as it was");
  }
  return {};
}

// criu looks for an inherited descriptor by what it takes for the path, which is the name without
// its first letter: that one is used as it is.
std::string key_of_itself(const HeldFile& held) { return held.key.substr(1); }

}  // namespace ssi::fds
