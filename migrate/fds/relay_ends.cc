#include "migrate/fds/relay_ends.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
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

// Not a pair: nothing is to come to the process, and it can be seen that nothing can.
Result<> connect_datagram_ends(RelayEnds& ends) {
  ends.guests = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ends.ours = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  socklen_t bytes = sizeof name;
  // The kernel finds a name.
  if (!ends.guests || !ends.ours || ::bind(*ends.ours, address, sizeof name.sun_family) != 0 ||
      ::getsockname(*ends.ours, address, &bytes) != 0 ||
      ::connect(*ends.guests, address, bytes) != 0) {
    return Error::from_errno("make a pair of sockets");
  }
  return {};
}

Result<RelayEnds> make_here(int network_namespace, PeerIdentity peer, int type) {
  if (::setns(network_namespace, CLONE_NEWNET) != 0) return Error::from_errno("enter a realm");
  RelayEnds ends;
  SSI_ASSIGN(ends.diag, open_unix_diag());
  SSI_TRY(become(peer));
  if (type == SOCK_DGRAM) {
    SSI_TRY(connect_datagram_ends(ends));
    return ends;
  }
  int pair[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) {
    return Error::from_errno("make a pair of sockets");
  }
  ends.guests = UniqueFd(pair[0]);
  ends.ours = UniqueFd(pair[1]);
  return ends;
}

constexpr timeval kConnectTimeout{0, 200'000};

// Home has let the client in: the socket file's mode is not asked once more, for what it is in all
// of the groups of its peer is not known here.
void raise_access_to_files() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &head, data) != 0) return;
  data[0].effective |= (1U << CAP_DAC_OVERRIDE) & data[0].permitted;
  (void)::syscall(SYS_capset, &head, data);
}

struct Address {
  sockaddr_un name{};
  socklen_t bytes = 0;
  UniqueFd file{};  // that the name leads to
};

Result<Address> abstract_address(const std::string& name) {
  Address to;
  to.name.sun_family = AF_UNIX;
  if (name.size() > sizeof to.name.sun_path) return Error("a name that is too long");
  std::memcpy(to.name.sun_path, name.data(), name.size());
  to.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return to;
}

// By its descriptor: a path may be longer than an address, and must not lead out of the root.
Result<Address> file_address(int root, const std::string& path) {
  Address to;
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  to.file.reset(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
  if (!to.file && errno == ENOENT) return Error(ErrorCode::kGone, "the socket's file is gone");
  if (!to.file) return Error::from_errno("open a socket's file");
  const std::string name = "/proc/thread-self/fd/" + std::to_string(*to.file);
  to.name.sun_family = AF_UNIX;
  std::memcpy(to.name.sun_path, name.c_str(), name.size() + 1);
  to.bytes = sizeof to.name;
  return to;
}

Result<Address> address_from(int root, const std::string& address) {
  if (address.empty()) return Error("no address to connect to");
  return address.front() == '\0' ? abstract_address(address) : file_address(root, address);
}

Result<RelayEnds> connect_here(int network_namespace, PeerIdentity peer, int root,
                               const std::string& address, int type) {
  SSI_ASSIGN(const Address to, address_from(root, address));
  if (::setns(network_namespace, CLONE_NEWNET) != 0) return Error::from_errno("enter a realm");
  RelayEnds ends;
  SSI_ASSIGN(ends.diag, open_unix_diag());
  SSI_TRY(become(peer));
  raise_access_to_files();
  ends.ours = UniqueFd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!ends.ours) return Error::from_errno("make a socket");
  timeval timeout = kConnectTimeout;
  (void)::setsockopt(*ends.ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (::connect(*ends.ours, reinterpret_cast<const sockaddr*>(&to.name), to.bytes) != 0) {
    if (errno == ECONNREFUSED) return Error(ErrorCode::kGone, "nobody listens there");
    if (errno == EAGAIN) return Error(ErrorCode::kTimeout, "too many wait there");
    return Error::from_errno("connect to a guest");
  }
  timeout = {};
  (void)::setsockopt(*ends.ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
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

Result<RelayEnds> make_relay_ends(int network_namespace, PeerIdentity peer, int type) {
  Result<RelayEnds> made = Error("not made");
  std::thread([&] { made = make_here(network_namespace, peer, type); }).join();
  return made;
}

Result<RelayEnds> connect_relay_end(int network_namespace, PeerIdentity peer, int root,
                                    const std::string& address, int type) {
  Result<RelayEnds> made = Error("not made");
  std::thread([&] { made = connect_here(network_namespace, peer, root, address, type); }).join();
  return made;
}

Result<UniqueFd> make_datagram_socket(int network_namespace) {
  Result<UniqueFd> made = Error("not made");
  std::thread([&] {
    if (::setns(network_namespace, CLONE_NEWNET) != 0) {
      made = Error::from_errno("enter a realm");
      return;
    }
    UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    made = fd ? Result<UniqueFd>(std::move(fd)) : Error::from_errno("make a socket");
  }).join();
  return made;
}

Result<> connect_datagrams(int socket, int root, const std::string& address) {
  SSI_ASSIGN(const Address to, address_from(root, address));
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&to.name), to.bytes) == 0) return {};
  if (errno == ECONNREFUSED) return Error(ErrorCode::kGone, "nobody is there");
  return Error::from_errno("connect to a guest");
}

}  // namespace ssi::fds
