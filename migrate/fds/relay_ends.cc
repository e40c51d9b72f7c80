#include "migrate/fds/relay_ends.h"

#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "migrate/fds/unix_diag.h"

namespace ssi::fds {
namespace {

// Of the calling thread alone: libc's functions would change all of them.
Result<> become(PeerIdentity peer) {
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
      ::syscall(SYS_setresgid, -1, peer.gid, -1) != 0 ||
      ::syscall(SYS_setresuid, -1, peer.uid, -1) != 0) {
    return Error::from_errno("act as a socket's peer");
  }
  return {};
}

Result<RelayEnds> make_here(int network_namespace, PeerIdentity peer) {
  if (::setns(network_namespace, CLONE_NEWNET) != 0) return Error::from_errno("enter a realm");
  RelayEnds ends;
  SSI_ASSIGN(ends.diag, open_unix_diag());
  SSI_TRY(become(peer));
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Error::from_errno("make a pair of sockets");
  }
  ends.guests = UniqueFd(pair[0]);
  ends.ours = UniqueFd(pair[1]);
  return ends;
}

}  // namespace

PeerIdentity peer_identity(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  constexpr uid_t kNobody = 65534;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {kNobody, kNobody};
  // There was none when the pair was made.
  if (peer.uid == static_cast<uid_t>(-1)) return {kNobody, kNobody};
  return {peer.uid, peer.gid};
}

Result<RelayEnds> make_relay_ends(int network_namespace, PeerIdentity peer) {
  Result<RelayEnds> made = Error("not made");
  std::thread([&] { made = make_here(network_namespace, peer); }).join();
  return made;
}

}  // namespace ssi::fds
