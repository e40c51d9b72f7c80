#include "migrate/deputy/deputy_host.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstring>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace ssi::deputy {
namespace {

template <typename Message>
Result<FromDeputy> as(std::span<const std::byte> packet) {
  if (packet.size() != sizeof(Message)) return Error("deputy: message of a wrong size");
  Message message;
  std::memcpy(&message, packet.data(), sizeof message);
  return FromDeputy(message);
}

template <typename Message>
std::size_t size_of(const Message&) {
  return sizeof(Message);
}
std::size_t size_of(const Birth& birth) {
  return kBirthBytesMin + strnlen(birth.title, sizeof birth.title - 1);
}

bool valid_signo(int signo) { return signo >= 1 && signo <= 64; }

}  // namespace

Result<FromDeputy> parse(std::span<const std::byte> packet) {
  Header header{.type = Type::kHello};
  if (packet.size() < sizeof header) return Error("deputy: message too short");
  std::memcpy(&header, packet.data(), sizeof header);
  if (header.magic != kMagic || header.version != kVersion) {
    return Error("deputy: unknown protocol version");
  }
  switch (header.type) {
    case Type::kHello:
      return as<Hello>(packet);
    case Type::kSignal: {
      auto message = as<Signal>(packet);
      if (!message) return message;
      const Signal& signal = std::get<Signal>(*message);
      if (!valid_signo(signal.signo) || signal.sequence == 0)
        return Error("deputy: no such signal");
      return message;
    }
    case Type::kStopEnded:
      return as<StopEnded>(packet);
    case Type::kNotBorn:
      return as<NotBorn>(packet);
    default:
      return Error("deputy: unexpected message type");
  }
}

std::vector<std::byte> encode(const ToDeputy& message) {
  return std::visit(
      [](const auto& m) {
        const auto* begin = reinterpret_cast<const std::byte*>(&m);
        std::vector<std::byte> bytes(begin, begin + size_of(m));
        if constexpr (std::is_same_v<std::decay_t<decltype(m)>, Birth>) bytes.back() = std::byte{0};
        return bytes;
      },
      message);
}

Result<Peer> peer_of(int connection) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Error::from_errno("deputy: credentials");
  }
  Peer peer{.pid = credentials.pid, .uid = credentials.uid, .pidfd = {}};
  int fd = -1;
  size = sizeof fd;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) != 0) {
    if (errno != ENOPROTOOPT) return Error::from_errno("deputy: pidfd");
    // Before Linux 6.5. The connection is still up, so the PID is still its own: check that after.
    fd = static_cast<int>(syscall(SYS_pidfd_open, credentials.pid, 0));
    if (fd < 0) return Error::from_errno("deputy: pidfd");
  }
  peer.pidfd.reset(fd);
  return peer;
}

Result<UniqueFd> listen_for_deputies(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error(path + ": path too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("deputy socket");
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Error::from_errno(path);
  if (bind(*fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), 0666) != 0 || listen(*fd, 1024) != 0) {
    return Error::from_errno(path);
  }
  return fd;
}

Result<FromDeputy> receive(int connection) {
  std::byte buffer[kMessageBytesMax + 1];
  const ssize_t got = recv(connection, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return Error(ErrorCode::kTimeout, "deputy: nothing to read");
  }
  if (got < 0 && errno != ECONNRESET) return Error::from_errno("deputy");
  if (got <= 0) return Error(ErrorCode::kGone, "deputy: connection closed");
  return parse({buffer, static_cast<std::size_t>(got)});
}

Result<> send(int connection, const ToDeputy& message) {
  const auto bytes = encode(message);
  if (::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
      static_cast<ssize_t>(bytes.size())) {
    return {};
  }
  if (errno == EPIPE || errno == ECONNRESET) {
    return Error(ErrorCode::kGone, "deputy: connection closed");
  }
  return Error::from_errno("deputy: send");
}

Result<> continue_deputy(int pidfd) {
  siginfo_t info{};
  info.si_signo = SIGCONT;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = reinterpret_cast<void*>(kContinueCookie);
  if (syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, &info, 0) != 0) {
    return Error::from_errno("continue deputy");
  }
  return {};
}

}  // namespace ssi::deputy
