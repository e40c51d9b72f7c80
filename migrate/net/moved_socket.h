// A network socket that moves with its process, as the rules at home need to know it. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::net {

enum class Protocol : std::uint8_t { kTcp, kUdp, kUdpLite };
const char* to_string(Protocol protocol);

struct Endpoint {
  // In numbers. "0.0.0.0", "::": each address of home of that family; "*": of both.
  std::string address;
  std::uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};

struct MovedSocket {
  Protocol protocol = Protocol::kTcp;
  Endpoint local;
  std::optional<Endpoint> remote{};  // none: it listens (TCP) or takes from everybody
  auto operator<=>(const MovedSocket&) const = default;
};

// "tcp 10.77.0.1:7000", "udp [::1]:5000 [::1]:53", "udplite *:80": between nodes and in files.
std::string to_string(const MovedSocket& socket);
// Checks every part of it.
Result<MovedSocket> parse_moved_socket(const std::string& text);

bool is_ipv4(const std::string& text);
bool is_ipv6(const std::string& text);

// The kernel takes no packet from a device that has ::1 in it (and forwards none): on their way
// through a tunnel, packets of ::1 have this address of the discard-only prefix instead.
constexpr const char* kLoopbackAlias = "100::7373:6964";

// Whether the socket sent this packet. Anything that is no whole packet, and an IPv6 packet with
// extension headers: no.
bool sent_by(const MovedSocket& socket, std::span<const std::uint8_t> packet);

}  // namespace ssi::net
