#include "migrate/net/moved_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>

namespace ssi::net {
namespace {

// One row per Protocol, in its order.
struct ProtocolRow {
  const char* name;  // as nft calls it, too
  int number;
};
constexpr ProtocolRow kProtocols[] = {
    {"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"udplite", IPPROTO_UDPLITE}};

const ProtocolRow& row_of(Protocol protocol) {
  return kProtocols[static_cast<std::size_t>(protocol)];
}

std::string to_string(const Endpoint& e) {
  return (is_ipv6(e.address) ? "[" + e.address + "]" : e.address) + ":" + std::to_string(e.port);
}

bool parse_address(const std::string& text, std::string& address) {
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  address = bracketed ? text.substr(1, text.size() - 2) : text;
  return bracketed ? is_ipv6(address) : address == "*" || is_ipv4(address);
}

Result<Endpoint> parse_endpoint(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Endpoint e;
  if (colon == std::string::npos) return Error("no port in '" + text + "'");
  const char* const end = text.data() + text.size();
  const auto [at, bad] = std::from_chars(text.data() + colon + 1, end, e.port);
  if (bad != std::errc{} || at != end || e.port == 0 ||
      !parse_address(text.substr(0, colon), e.address)) {
    return Error("'" + text + "' is no address and port");
  }
  return e;
}

// Of an IP packet: offsets of what tells whose it is.
struct Header {
  std::span<const std::uint8_t> packet;
  int family = AF_INET;
  int protocol = 0;
  std::size_t source_at = 0, destination_at = 0, ports_at = 0;
};

std::optional<Header> read_header(std::span<const std::uint8_t> packet) {
  constexpr std::size_t kIpv4Min = 20, kIpv6 = 40;
  Header h{.packet = packet};
  if (packet.size() >= kIpv4Min && packet[0] >> 4 == 4) {
    h.protocol = packet[9];
    h.source_at = 12, h.destination_at = 16, h.ports_at = std::size_t{4} * (packet[0] & 15);
    if (h.ports_at < kIpv4Min) return {};
  } else if (packet.size() >= kIpv6 && packet[0] >> 4 == 6) {
    h.family = AF_INET6;
    h.protocol = packet[6];
    h.source_at = 8, h.destination_at = 24, h.ports_at = kIpv6;
  } else {
    return {};
  }
  if (packet.size() < h.ports_at + 4) return {};
  return h;
}

bool is(const Header& h, const Endpoint& e, std::size_t address_at, std::size_t port_at) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(h.family, h.packet.data() + address_at, text, sizeof text);
  const std::string address = std::string_view(text) == kLoopbackAlias ? "::1" : text;
  const int port = h.packet[port_at] << 8 | h.packet[port_at + 1];
  return port == e.port && (e.address == address || e.address == "*" ||
                            e.address == (h.family == AF_INET ? "0.0.0.0" : "::"));
}

}  // namespace

const char* to_string(Protocol protocol) { return row_of(protocol).name; }

bool is_ipv4(const std::string& text) {
  in_addr address;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& text) {
  in6_addr address;
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::string to_string(const MovedSocket& s) {
  return std::string(to_string(s.protocol)) + " " + to_string(s.local) +
         (s.remote ? " " + to_string(*s.remote) : "");
}

bool sent_by(const MovedSocket& s, std::span<const std::uint8_t> packet) {
  const auto header = read_header(packet);
  if (!header || header->protocol != row_of(s.protocol).number) return false;
  return is(*header, s.local, header->source_at, header->ports_at) &&
         (!s.remote || is(*header, *s.remote, header->destination_at, header->ports_at + 2));
}

Result<MovedSocket> parse_moved_socket(const std::string& text) {
  std::istringstream words(text);
  std::string protocol, local, remote, more;
  words >> protocol >> local >> remote;
  const auto row = std::ranges::find(kProtocols, protocol, &ProtocolRow::name);
  if (words >> more || row == std::end(kProtocols)) {
    return Error("'" + text.substr(0, 100) + "' is no socket");
  }
  MovedSocket s;
  s.protocol = static_cast<Protocol>(row - std::begin(kProtocols));
  SSI_ASSIGN(s.local, parse_endpoint(local));
  if (!remote.empty()) {
    SSI_ASSIGN(s.remote, parse_endpoint(remote));
  }
  return s;
}

}  // namespace ssi::net
