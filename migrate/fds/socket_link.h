// Pure: what /proc/PID/fd and criu call a socket, "socket:[123]".
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ssi::fds {

inline constexpr std::string_view kSocketLink = "socket:[";

inline bool is_socket_link(std::string_view link) { return link.starts_with(kSocketLink); }

inline std::string socket_link(std::uint64_t inode) {
  return std::string(kSocketLink) + std::to_string(inode) + "]";
}

// Nothing: it is no socket.
inline std::optional<std::uint64_t> socket_inode(std::string_view link) {
  if (!is_socket_link(link)) return {};
  link.remove_prefix(kSocketLink.size());
  std::uint64_t inode = 0;
  const auto [end, error] = std::from_chars(link.data(), link.data() + link.size(), inode);
  if (error != std::errc() || std::string_view(end, link.data() + link.size()) != "]") return {};
  return inode;
}

}  // namespace ssi::fds
