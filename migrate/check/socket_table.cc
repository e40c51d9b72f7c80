#include "migrate/check/socket_table.h"

#include <arpa/inet.h>

#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

namespace ssi::check {
namespace {

constexpr unsigned kTcpListen = 0x0a;

// "0100007F:E19B": the address as 32-bit words in the machine's byte order, the port as a number.
std::optional<net::Endpoint> endpoint_of(const std::string& field) {
  const std::size_t colon = field.find(':');
  if (colon != 8 && colon != 32) return {};
  std::uint32_t raw[4] = {};
  for (std::size_t i = 0; i < colon / 8; ++i) {
    raw[i] = static_cast<std::uint32_t>(std::strtoul(field.substr(8 * i, 8).c_str(), nullptr, 16));
  }
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(colon == 32 ? AF_INET6 : AF_INET, raw, text, sizeof text);
  const unsigned long port = std::strtoul(field.c_str() + colon + 1, nullptr, 16);
  return net::Endpoint{text, static_cast<std::uint16_t>(port)};
}

std::string address_text(const net::Endpoint& e) {
  const bool v6 = e.address.find(':') != std::string::npos;
  return (v6 ? "[" + e.address + "]" : e.address) + ":" + std::to_string(e.port);
}

bool is_nobody(const net::Endpoint& e) {
  return e.port == 0 && (e.address == "0.0.0.0" || e.address == "::");
}

// An IPv4 address in IPv6's clothes is one: so its packets look. False: only its link, or a group,
// has the address.
bool make_steerable(std::string& address) {
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return true;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    char text[INET_ADDRSTRLEN] = {};
    address = inet_ntop(AF_INET, v6.s6_addr + 12, text, sizeof text);
  }
  return !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_MULTICAST(&v6);
}

// "udp6": its packets are of UDP, as those of "udp".
std::optional<net::Protocol> protocol_of(std::string_view list) {
  if (list.ends_with("6")) list.remove_suffix(1);
  for (const net::Protocol p :
       {net::Protocol::kTcp, net::Protocol::kUdp, net::Protocol::kUdpLite}) {
    if (list == net::to_string(p)) return p;
  }
  return {};
}

std::optional<net::MovedSocket> movable(std::string_view protocol, net::Endpoint local,
                                        net::Endpoint remote) {
  const auto carried = protocol_of(protocol);
  if (!carried || local.port == 0) return {};
  if (!make_steerable(local.address) || !make_steerable(remote.address)) return {};
  net::MovedSocket s{.protocol = *carried, .local = std::move(local)};
  if (remote.port != 0) s.remote = std::move(remote);
  return s;
}

}  // namespace

SocketWords socket_words(std::string_view protocol, const net::Endpoint& local,
                         const net::Endpoint& remote, bool listening) {
  SocketWords words{.details = std::string(protocol) + " " + address_text(local),
                    .listening = listening};
  words.socket = movable(protocol, local, remote);
  if (!is_nobody(remote)) words.details += " -> " + address_text(remote);
  return words;
}

void add_inet_sockets(SocketTable& table, std::string_view protocol, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);  // headings
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    if (!(fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
          timeout >> inode)) {
      continue;
    }
    const bool tcp = protocol.starts_with("tcp");
    const auto from = endpoint_of(local), to = endpoint_of(remote);
    if (!from || !to) continue;
    table[std::strtoull(inode.c_str(), nullptr, 10)] = socket_words(
        protocol, *from, *to, tcp && std::strtoul(state.c_str(), nullptr, 16) == kTcpListen);
  }
}

}  // namespace ssi::check
