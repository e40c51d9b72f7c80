#include "migrate/fds/process_locks.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace ssi::fds {

TEST_CASE("ranges that are neighbours are one, of one kind only") {
  const std::vector<LockRange> held{{10, 19, F_RDLCK, 0}, {0, 9, F_RDLCK, 0}, {20, 29, F_WRLCK, 0}};
  CHECK(has_all(held, {{0, 19, F_RDLCK, 0}}));
  CHECK(has_all(held, {{5, 14, F_RDLCK, 0}, {20, 29, F_WRLCK, 0}}));
  CHECK(!has_all(held, {{0, 29, F_RDLCK, 0}}));
  CHECK(!has_all(held, {{20, 29, F_RDLCK, 0}}));
  CHECK(!has_all({}, {{0, 0, F_RDLCK, 0}}));
  CHECK(has_all({}, {}));
}

TEST_CASE("a lock that a close has dropped is missed") {
  char path[] = "/tmp/ssid-process-lock-XXXXXX";
  const int fd = ::mkstemp(path);
  const int other = ::open(path, O_RDONLY | O_CLOEXEC);
  ::unlink(path);
  struct flock lock {};
  lock.l_type = F_RDLCK;
  REQUIRE(::fcntl(fd, F_SETLK, &lock) == 0);
  HeldFile wanted;
  wanted.number = fd;
  wanted.locks = {{0, INT64_MAX, F_RDLCK, 0}};
  CHECK(check_process_locks(::getpid(), wanted, true).ok());
  ::close(other);
  CHECK(!check_process_locks(::getpid(), wanted, true).ok());
  ::close(fd);
}

}  // namespace ssi::fds
