// The kernel's lists of sockets (/proc/PID/net/tcp and so on) as text in words. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "migrate/net/moved_socket.h"

namespace ssi::check {

struct SocketWords {
  std::string details;  // "tcp 10.77.0.1:41000 -> 10.77.0.2:80"
  bool listening = false;
  std::optional<net::MovedSocket> socket{};  // if it is of a kind that home can carry
};

// What the list `protocol` ("tcp6") would say of it. Nobody at the other end: 0.0.0.0 or ::, port
// 0.
SocketWords socket_words(std::string_view protocol, const net::Endpoint& local,
                         const net::Endpoint& remote, bool listening);

using SocketTable = std::map<std::uint64_t, SocketWords>;  // by inode

// `protocol`: "tcp", "udp", ... as it is to be printed. Lines that don't fit are passed over.
void add_inet_sockets(SocketTable& table, std::string_view protocol, const std::string& text);

}  // namespace ssi::check
