// The kernel's lists of sockets (/proc/PID/net/tcp and so on) as text in words. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace ssi::check {

struct SocketWords {
  std::string details;  // "tcp 10.77.0.1:41000 -> 10.77.0.2:80", "/run/x.sock", "unnamed"
  bool listening = false;
};

using SocketTable = std::map<std::uint64_t, SocketWords>;  // by inode

// `protocol`: "tcp", "udp", ... as it is to be printed. Lines that don't fit are passed over.
void add_inet_sockets(SocketTable& table, std::string_view protocol, const std::string& text);
void add_unix_sockets(SocketTable& table, const std::string& text);

}  // namespace ssi::check
