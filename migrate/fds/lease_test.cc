#include "migrate/fds/lease.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace ssi::fds {
namespace {

Lease lease_of(int fd) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/fdinfo/" + std::to_string(fd)).rdbuf();
  return parse_lease(text.str());
}

struct LeasedFile {
  LeasedFile() {
    std::signal(SIGIO, SIG_IGN);
    fd = ::mkstemp(path);
    REQUIRE(fd >= 0);
    REQUIRE(::fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
  }
  ~LeasedFile() {
    ::unlink(path);
    if (fd >= 0) ::close(fd);
  }
  char path[32] = "/tmp/ssid-lease-test-XXXXXX";
  int fd = -1;
};

}  // namespace

TEST_CASE_FIXTURE(LeasedFile, "a duplicate of the open file has the lease when its own is closed") {
  const int kept = ::dup(fd);
  ::close(fd);
  fd = kept;
  CHECK(lease_of(kept) == Lease{F_WRLCK, 0});
  CHECK((::open(path, O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK));
}

TEST_CASE_FIXTURE(LeasedFile, "nobody is told of the leases of who becomes a deputy") {
  REQUIRE(::fcntl(fd, F_SETSIG, SIGUSR1) == 0);
  CHECK(*lease_signal_of(fd) == LeaseSignal{::getpid(), SIGUSR1});
  silence_leases(::getpid());
  CHECK(*lease_signal_of(fd) == LeaseSignal{0, SIGUSR1});
  CHECK(lease_of(fd) == Lease{F_WRLCK, 0});
}

TEST_CASE_FIXTURE(LeasedFile, "who gets it back at home is told again, unless it was broken") {
  HeldFile held;
  held.number = fd;
  held.lease = {F_WRLCK, 0};
  held.lease_signal = SIGIO;
  REQUIRE(prepare_lease(fd, held).ok());
  CHECK(*lease_signal_of(fd) == LeaseSignal{0, SIGIO});
  REQUIRE(::fcntl(fd, F_SETLEASE, F_WRLCK) == 0);  // as criu does
  CHECK(finish_lease(::getpid(), ::getpid(), held).ok());
  CHECK(*lease_signal_of(fd) == LeaseSignal{::getpid(), SIGIO});
  REQUIRE(prepare_lease(fd, held).ok());
  CHECK(::open(path, O_RDONLY | O_NONBLOCK) < 0);
  REQUIRE(::fcntl(fd, F_SETLEASE, F_WRLCK) == 0);  // the kernel allows it
  const auto finished = finish_lease(::getpid(), ::getpid(), held);
  REQUIRE(!finished);
  CHECK(finished.error().message().find("broken meanwhile") != std::string::npos);
}

TEST_CASE("leases that no kernel would give again stay") {
  const auto stays = [](Lease lease, std::uint32_t flags) {
    return !lease_that_stays({.lease = lease}, flags).empty();
  };
  CHECK(!stays({}, O_RDWR));
  CHECK(!stays({F_WRLCK, 0}, O_RDWR));
  CHECK(!stays({F_WRLCK, 0}, O_RDONLY));
  CHECK(!stays({F_RDLCK, 0}, O_RDONLY));
  CHECK(stays({F_RDLCK, 0}, O_WRONLY));  // its time was up
  CHECK(!stays({F_RDLCK, 1}, O_WRONLY));
  CHECK(stays({F_RDLCK, 1}, O_RDONLY));
  CHECK(!stays({F_UNLCK, 1}, O_RDONLY));
  CHECK(!stays({F_UNLCK, 1}, O_RDWR));
  CHECK(lease_that_stays({.lease = {F_WRLCK, 0}, .lease_of_home = false}, O_RDWR)
            .find("away from home") != std::string::npos);
  CHECK(excludes_openings({F_WRLCK, 0}));
  CHECK(excludes_openings({F_UNLCK, 1}));
  CHECK(!excludes_openings({F_RDLCK, 0}));
}

}  // namespace ssi::fds
