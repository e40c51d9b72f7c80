#include "ssid/wire/tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>

#include "ssid/wire/wait_ready.h"

namespace ssi {
namespace {

constexpr int kSocketBufferBytes = 4 << 20;
constexpr int kBacklog = 64;

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

Result<> resolve(const std::string& address, std::uint16_t port, int flags, AddressList& list) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  const std::string service = std::to_string(port);
  const char* node = address.empty() ? nullptr : address.c_str();
  const int error = ::getaddrinfo(node, service.c_str(), &hints, &list.first);
  if (error == EAI_SYSTEM) return Error::from_errno(address);
  if (error != 0) return Error(address + ": " + ::gai_strerror(error));
  return {};
}

template <typename T>
Result<> set_option(int fd, int level, int name, T value, std::string_view what) {
  if (::setsockopt(fd, level, name, &value, sizeof(value)) != 0) return Error::from_errno(what);
  return {};
}

// Big buffers before connect or listen, so that the window scale fits them.
void set_buffers(int fd) {
  // Refused or cut to rmem_max: slower on long networks, nothing worse.
  (void)set_option(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes, "");
  (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes, "");
}

std::string name_of(const sockaddr_storage& address, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> service{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host.data(), host.size(),
                    service.data(), service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "unknown address";
  const bool v6 = address.ss_family == AF_INET6;
  return (v6 ? "[" : "") + std::string(host.data()) + (v6 ? "]:" : ":") + service.data();
}

Result<> connect_one(int fd, const addrinfo& to, std::int64_t deadline_ms) {
  if (::connect(fd, to.ai_addr, to.ai_addrlen) == 0) return {};
  if (errno != EINPROGRESS) return Error::from_errno("connect");
  SSI_TRY(wait_ready(fd, POLLOUT, deadline_ms).context("connect"));
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error != 0) return Error::from_errno("connect", error);
  return {};
}

}  // namespace

Result<UniqueFd> tcp_connect(const std::string& address, std::uint16_t port,
                             const LinkTimeouts& timeouts) {
  const std::int64_t deadline_ms = deadline_in(timeouts.connect_ms);
  AddressList list;
  // A number needs no resolver, which might wait.
  if (!resolve(address, port, AI_NUMERICHOST, list)) SSI_TRY(resolve(address, port, 0, list));
  Error last("no address");
  for (const addrinfo* to = list.first; to != nullptr; to = to->ai_next) {
    UniqueFd fd(::socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
      last = Error::from_errno("socket");
      continue;
    }
    set_buffers(*fd);
    auto connected = connect_one(*fd, *to, deadline_ms);
    if (!connected) {
      last = std::move(connected).error();
      continue;
    }
    SSI_TRY(tcp_tune(*fd, timeouts));
    return fd;
  }
  return std::move(last).context(address + ":" + std::to_string(port));
}

Result<> tcp_tune(int fd, const LinkTimeouts& timeouts) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return Error::from_errno("fcntl O_NONBLOCK");
  SSI_TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  if (timeouts.peer_dead_ms > 0) {
    const auto dead_ms = static_cast<int>(std::min<std::int64_t>(timeouts.peer_dead_ms, 1 << 30));
    const int probe_s = std::max(1, dead_ms / 4000);
    SSI_TRY(set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<unsigned>(dead_ms),
                       "TCP_USER_TIMEOUT"));
    SSI_TRY(set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
    SSI_TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, probe_s, "TCP_KEEPIDLE"));
    SSI_TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, probe_s, "TCP_KEEPINTVL"));
    SSI_TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3, "TCP_KEEPCNT"));
  }
  return {};
}

std::string tcp_peer_name(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return "a closed connection";
  return name_of(address, length);
}

Result<TcpListener> TcpListener::listen(const std::string& address, std::uint16_t port) {
  const std::string what =
      "listen on " + (address.empty() ? "*" : address) + ":" + std::to_string(port);
  AddressList list;
  SSI_TRY(resolve(address, port, AI_PASSIVE, list).context(what));
  Error last(what + ": no address");
  // IPv6 first for "": with IPV6_V6ONLY off it serves both.
  for (const int family : {AF_INET6, AF_INET}) {
    for (const addrinfo* at = list.first; at != nullptr; at = at->ai_next) {
      if (at->ai_family != family) continue;
      UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!fd) {
        last = Error::from_errno(what);
        continue;
      }
      if (family == AF_INET6)
        SSI_TRY(set_option(*fd, IPPROTO_IPV6, IPV6_V6ONLY, address.empty() ? 0 : 1, "IPV6_V6ONLY"));
      SSI_TRY(set_option(*fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
      set_buffers(*fd);
      sockaddr_storage bound{};
      socklen_t length = sizeof(bound);
      if (::bind(*fd, at->ai_addr, at->ai_addrlen) != 0 || ::listen(*fd, kBacklog) != 0 ||
          ::getsockname(*fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
        last = Error::from_errno(what);
        continue;
      }
      const auto bound_port = family == AF_INET6
                                  ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                  : reinterpret_cast<const sockaddr_in&>(bound).sin_port;
      return TcpListener(std::move(fd), ntohs(bound_port));
    }
  }
  return last;
}

Result<UniqueFd> TcpListener::accept(std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = deadline_in(timeout_ms);
  for (;;) {
    SSI_TRY(wait_ready(*fd_, POLLIN, deadline_ms).context("accept"));
    UniqueFd fd(::accept4(*fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) return fd;
    switch (errno) {
      case EINVAL:  // shut down by stop()
        return Error(ErrorCode::kGone, "accept: stopped");
      case EINTR:
      case EAGAIN:
      case ECONNABORTED:
      case EPROTO:
      case ENETDOWN:
      case EHOSTUNREACH:
      case ENETUNREACH:
        continue;
      default:
        return Error::from_errno("accept");
    }
  }
}

void TcpListener::stop() { ::shutdown(*fd_, SHUT_RDWR); }

}  // namespace ssi
