#include "migrate/fds/file_lock.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace ssi::fds {
namespace {

std::string info_of(int fd) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/fdinfo/" + std::to_string(fd)).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("locks are read as this kernel writes them") {
  char path[] = "/tmp/ssid-lock-test-XXXXXX";
  const int fd = ::mkstemp(path);
  ::unlink(path);
  REQUIRE(fd >= 0);
  CHECK(!parse_locks(info_of(fd)).any());
  REQUIRE(::flock(fd, LOCK_SH) == 0);
  CHECK(parse_locks(info_of(fd)) == HeldLocks{.flock = LOCK_SH});
  REQUIRE(::flock(fd, LOCK_EX) == 0);
  CHECK(parse_locks(info_of(fd)) == HeldLocks{.flock = LOCK_EX});
  CHECK(lock_that_stays(parse_locks(info_of(fd)), false).empty());
  struct flock lock {};
  lock.l_type = F_WRLCK;
  REQUIRE(::fcntl(fd, F_SETLK, &lock) == 0);
  HeldLocks locks = parse_locks(info_of(fd));
  CHECK(locks == HeldLocks{.flock = LOCK_EX, .of_process = {{0, INT64_MAX, F_WRLCK, 0}}});
  CHECK(lock_that_stays(locks, true).starts_with("a record lock for writing"));
  CHECK(lock_that_stays(locks, false).empty());  // its deputy will keep it
  locks.at_home = true;
  CHECK(lock_that_stays(locks, true).empty());
  lock.l_type = F_RDLCK;
  REQUIRE(::fcntl(fd, F_SETLK, &lock) == 0);
  CHECK(lock_that_stays(parse_locks(info_of(fd)), false).empty());
  ::close(fd);
}

TEST_CASE("a lease belongs to the open file, a delegation stays") {
  const HeldLocks lease =
      parse_locks("pos:\t0\nlock:\t1: LEASE  ACTIVE    READ 12 00:21:5 0 EOF\n");
  CHECK(lease == HeldLocks{.lease = {F_RDLCK, 0}});
  CHECK(lease.belong_to_file());
  CHECK(lock_that_stays(lease, true).empty());
  const HeldLocks delegation =
      parse_locks("pos:\t0\nlock:\t1: DELEG  ACTIVE    READ 12 00:21:5 0 EOF\n");
  CHECK(lock_that_stays(delegation, false).starts_with("a delegation"));
}

TEST_CASE("record locks of an open file go with it, each with its range") {
  char path[] = "/tmp/ssid-lock-test-XXXXXX";
  const int fd = ::mkstemp(path);
  ::unlink(path);
  REQUIRE(fd >= 0);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_start = 10;
  lock.l_len = 5;
  REQUIRE(::fcntl(fd, F_OFD_SETLK, &lock) == 0);
  lock = {};
  lock.l_type = F_RDLCK;
  lock.l_start = 100;
  REQUIRE(::fcntl(fd, F_OFD_SETLK, &lock) == 0);
  HeldLocks locks = parse_locks(info_of(fd));
  CHECK(locks == HeldLocks{.of_file = {{10, 14, F_WRLCK, 0}, {100, INT64_MAX, F_RDLCK, 0}}});
  CHECK(locks.belong_to_file());
  CHECK(lock_that_stays(locks, true).empty());
  locks.of_file.resize(kLockRangesMax + 1);
  CHECK(lock_that_stays(locks, true).starts_with("65 record locks"));
  ::close(fd);
}

}  // namespace ssi::fds
