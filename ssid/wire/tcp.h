// TCP connections as links need them. All descriptors are CLOEXEC and non-blocking.
#pragma once

#include <cstdint>
#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/link_timeouts.h"

namespace ssi {

Result<UniqueFd> tcp_connect(const std::string& address, std::uint16_t port,
                             const LinkTimeouts& timeouts);
// No delay, big buffers, keepalive and user timeout, so that a vanished machine is noticed.
Result<> tcp_tune(int fd, const LinkTimeouts& timeouts);
// "10.0.0.2:4100", "[fd00::2]:4100"
std::string tcp_peer_name(int fd);

// Role: a listening socket. Owned by the thread that accepts; stop() may be called from any other
// one.
class TcpListener {
 public:
  // Address "" is every one of this machine; port 0 lets the kernel choose.
  static Result<TcpListener> listen(const std::string& address, std::uint16_t port);

  std::uint16_t port() const { return port_; }
  int fd() const { return *fd_; }
  // The next connection. kTimeout; kGone after stop().
  Result<UniqueFd> accept(std::int64_t timeout_ms);
  void stop();

 private:
  TcpListener(UniqueFd fd, std::uint16_t port) : fd_(std::move(fd)), port_(port) {}
  UniqueFd fd_;
  std::uint16_t port_;
};

}  // namespace ssi
