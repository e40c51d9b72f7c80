#include "ssid/base/lease.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace ssi {
namespace {

std::string info_of(int fd) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/fdinfo/" + std::to_string(fd)).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("a lease is read as this kernel writes it, whole and being broken") {
  std::signal(SIGIO, SIG_IGN);
  char path[] = "/tmp/ssid-lease-test-XXXXXX";
  const int fd = ::mkstemp(path);
  REQUIRE(fd >= 0);
  CHECK(!parse_lease(info_of(fd)).any());
  REQUIRE(::fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
  CHECK(parse_lease(info_of(fd)) == Lease{F_WRLCK, 0});
  CHECK((::open(path, O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK));
  CHECK(parse_lease(info_of(fd)) == Lease{F_RDLCK, 1});
  CHECK((::open(path, O_WRONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK));
  CHECK(parse_lease(info_of(fd)) == Lease{F_UNLCK, 1});
  CHECK(parse_lease(info_of(fd)).any());
  REQUIRE(::fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
  CHECK(!parse_lease(info_of(fd)).any());
  ::unlink(path);
  ::close(fd);
}

TEST_CASE("other locks are no leases") {
  CHECK(!parse_lease("pos:\t0\nlock:\t1: FLOCK  ADVISORY  WRITE 12 00:21:5 0 EOF\n").any());
  CHECK(!parse_lease("lock:\t1: DELEG  ACTIVE    READ 12 00:21:5 0 EOF\n").any());
  CHECK(lease_strength(F_WRLCK) > lease_strength(F_RDLCK));
  CHECK(lease_strength(F_RDLCK) > lease_strength(F_UNLCK));
}

}  // namespace ssi
