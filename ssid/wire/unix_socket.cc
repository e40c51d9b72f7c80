#include "ssid/wire/unix_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "ssid/wire/wait_ready.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5; older C libraries don't name it
#endif

namespace ssi {
namespace {

constexpr std::size_t kDescriptorsMax = 250;  // below SCM_MAX_FD
constexpr int kBacklog = 64;

int native_type(UnixType type) { return type == UnixType::kStream ? SOCK_STREAM : SOCK_SEQPACKET; }

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return Error(path + ": not a path a socket can have");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<UniqueFd> make_socket(UnixType type) {
  UniqueFd fd(::socket(AF_UNIX, native_type(type) | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  return fd;
}

Error closed_or(std::string_view what) {
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
    return Error(ErrorCode::kGone, std::string(what) + ": the other end is closed");
  return Error::from_errno(what);
}

// A socket that nobody listens on any more is removed.
Result<> remove_stale(const std::string& path, const sockaddr_un& address, UnixType type) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0)
    return errno == ENOENT ? Result<>() : Error::from_errno(path);
  if (!S_ISSOCK(st.st_mode)) return Error(path + ": exists and is not a socket");
  SSI_ASSIGN(UniqueFd probe, make_socket(type));
  if (::connect(*probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      (errno != ECONNREFUSED && errno != ENOENT))
    return Error(path + ": another program listens there");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return Error::from_errno("unlink " + path);
  return {};
}

template <typename T>
bool get_option(int fd, int name, T& value) {
  socklen_t length = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0;
}

Result<std::vector<gid_t>> peer_groups(int fd) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const bool done = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0;
    if (!done && errno != ERANGE) return Error::from_errno("SO_PEERGROUPS");
    groups.resize(length / sizeof(gid_t));
    if (done) return groups;
  }
}

// The process is the one that connected, not a later one of its number: the kernel's pidfd, or,
// where the kernel is too old for that, one opened now (then only a reuse before this moment can't
// be seen).
Result<ProcessHandle> peer_process(int fd, pid_t pid) {
  int pidfd = -1;
  if (get_option(fd, SO_PEERPIDFD, pidfd)) return ProcessHandle::from_pidfd(UniqueFd(pidfd));
  if (errno != ENOPROTOOPT) return Error::from_errno("SO_PEERPIDFD");
  return ProcessHandle::open(pid);
}

}  // namespace

Result<UnixListener> UnixListener::listen(std::string path, UnixType type, mode_t mode) {
  SSI_ASSIGN(const sockaddr_un address, address_of(path));
  SSI_TRY(remove_stale(path, address, type));
  SSI_ASSIGN(UniqueFd fd, make_socket(type));
  // Nobody may connect before the mode is what was asked for: the new file inherits the socket's
  // own.
  if (::fchmod(*fd, 0600) != 0) return Error::from_errno("chmod the socket of " + path);
  if (::bind(*fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return Error::from_errno("bind " + path);
  UnixListener made(std::move(fd), std::move(path));
  if (::chmod(made.path_.c_str(), mode) != 0) return Error::from_errno("chmod " + made.path_);
  if (::listen(*made.fd_, kBacklog) != 0) return Error::from_errno("listen on " + made.path_);
  return made;
}

UnixListener::~UnixListener() {
  if (fd_) ::unlink(path_.c_str());
}

Result<UniqueFd> UnixListener::accept(std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = deadline_in(timeout_ms);
  for (;;) {
    SSI_TRY(wait_ready(*fd_, POLLIN, deadline_ms).context("accept on " + path_));
    UniqueFd fd(::accept4(*fd_, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) return fd;
    if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED)
      return Error::from_errno("accept on " + path_);
  }
}

Result<UniqueFd> unix_connect(const std::string& path, UnixType type) {
  SSI_ASSIGN(const sockaddr_un address, address_of(path));
  SSI_ASSIGN(UniqueFd fd, make_socket(type));
  while (::connect(*fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    if (errno != EINTR) {
      const int err = errno;
      const bool nobody = err == ENOENT || err == ECONNREFUSED;
      return Error(nobody ? ErrorCode::kGone : ErrorCode::kFailed,
                   "connect " + path + ": " + std::strerror(err));
    }
  return fd;
}

Result<UnixPair> unix_pair(UnixType type) {
  int fds[2];
  if (::socketpair(AF_UNIX, native_type(type) | SOCK_CLOEXEC, 0, fds) != 0)
    return Error::from_errno("socketpair");
  return UnixPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<> unix_send(int fd, std::span<const std::byte> bytes, std::span<const int> descriptors,
                   std::int64_t timeout_ms) {
  SSI_CHECK(!bytes.empty());
  SSI_CHECK(descriptors.size() <= kDescriptorsMax);
  const std::int64_t deadline_ms = deadline_in(timeout_ms);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> control{};
  while (!bytes.empty()) {
    iovec piece{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
      std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    const ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
      descriptors = {};
    } else if (errno == EAGAIN) {
      SSI_TRY(wait_ready(fd, POLLOUT, deadline_ms).context("send"));
    } else if (errno != EINTR) {
      return closed_or("send");
    }
  }
  return {};
}

Result<UnixMessage> unix_recv(int fd, std::size_t bytes_max, std::size_t descriptors_max,
                              std::int64_t timeout_ms) {
  SSI_CHECK(descriptors_max <= kDescriptorsMax);
  const std::int64_t deadline_ms = deadline_in(timeout_ms);
  UnixMessage received;
  received.bytes.resize(bytes_max);
  // Room for the most the kernel passes at once (253), so that what is too many is seen, and
  // closed.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 256)> control{};
  for (;;) {
    iovec piece{.iov_base = received.bytes.data(), .iov_len = bytes_max};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      SSI_TRY(wait_ready(fd, POLLIN, deadline_ms).context("receive"));
      continue;
    }
    if (n < 0) return closed_or("receive");
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
      if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= h->cmsg_len; at += sizeof(int)) {
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(h) + at, sizeof(int));
        received.descriptors.emplace_back(descriptor);
      }
    }
    if (n == 0) return Error(ErrorCode::kGone, "receive: the other end is closed");
    if ((message.msg_flags & MSG_TRUNC) != 0) return Error("receive: message too long");
    if ((message.msg_flags & MSG_CTRUNC) != 0 || received.descriptors.size() > descriptors_max)
      return Error("receive: too many descriptors");
    received.bytes.resize(static_cast<std::size_t>(n));
    return received;
  }
}

Result<Caller> caller_of(int fd) {
  ucred credentials{};
  if (!get_option(fd, SO_PEERCRED, credentials)) return Error::from_errno("SO_PEERCRED");
  Caller caller;
  caller.uid = credentials.uid;
  caller.gid = credentials.gid;
  caller.pid = credentials.pid;
  SSI_ASSIGN(caller.groups, peer_groups(fd));
  if (caller.pid > 0) {
    auto process = peer_process(fd, caller.pid);
    if (!process) return std::move(process).error().context("caller");
    caller.process = std::move(process).value();
    if (caller.process.pid() != caller.pid) return Error("caller: its pidfd is of another process");
  }
  return caller;
}

}  // namespace ssi
