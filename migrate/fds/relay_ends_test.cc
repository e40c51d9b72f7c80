#include "migrate/fds/relay_ends.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/fds/unix_diag.h"

namespace ssi::fds {

TEST_CASE("a pair as if the peer had made it, and how much of it is unread") {
  if (::geteuid() != 0) return;
  const UniqueFd here(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const auto ends = make_relay_ends(*here, {1234, 2345}, SOCK_STREAM);
  REQUIRE(ends);
  const PeerIdentity peer = peer_identity(*ends->guests);
  CHECK(peer.uid == 1234);
  CHECK(peer.gid == 2345);
  CHECK(::geteuid() == 0);  // that was another thread
  struct stat ours {};
  struct stat guests {};
  REQUIRE(::fstat(*ends->ours, &ours) == 0);
  REQUIRE(::fstat(*ends->guests, &guests) == 0);
  REQUIRE(::write(*ends->ours, "abcdef", 6) == 6);
  char bytes[2];
  REQUIRE(::read(*ends->guests, bytes, 2) == 2);
  CHECK(ask_unix_socket(*ends->diag, ours.st_ino)->peer == guests.st_ino);
  CHECK(ask_unix_socket(*ends->diag, guests.st_ino)->unread_bytes == 4);
  CHECK(!ask_unix_socket(*ends->diag, 0));
  CHECK(!ask_unix_socket(*ends->diag, 0xfffffff0));
}

TEST_CASE("who is at the other end of a pair is who made it") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const UniqueFd a(pair[0]), b(pair[1]);
  CHECK(peer_identity(*a).uid == ::geteuid());
  const UniqueFd alone(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(peer_identity(*alone).uid == 65534);
}

}  // namespace ssi::fds
