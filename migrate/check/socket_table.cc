#include "migrate/check/socket_table.h"

#include <arpa/inet.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

namespace ssi::check {
namespace {

constexpr unsigned kTcpListen = 0x0a;
constexpr unsigned long kUnixListening = 0x10000;  // __SO_ACCEPTCON

// "0100007F:E19B": the address as 32-bit words in the machine's byte order, the port as a number.
std::string address_text(const std::string& field) {
  const std::size_t colon = field.find(':');
  if (colon != 8 && colon != 32) return {};
  const unsigned long port = std::strtoul(field.c_str() + colon + 1, nullptr, 16);
  std::uint32_t raw[4] = {};
  for (std::size_t i = 0; i < colon / 8; ++i) {
    raw[i] = static_cast<std::uint32_t>(std::strtoul(field.substr(8 * i, 8).c_str(), nullptr, 16));
  }
  char text[INET6_ADDRSTRLEN] = {};
  const bool v6 = colon == 32;
  inet_ntop(v6 ? AF_INET6 : AF_INET, raw, text, sizeof text);
  return (v6 ? "[" + std::string(text) + "]" : std::string(text)) + ":" + std::to_string(port);
}

bool is_nobody(const std::string& field) {
  return field.find_first_not_of("0:") == std::string::npos;
}

}  // namespace

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
    SocketWords words{.details = std::string(protocol) + " " + address_text(local),
                      .listening = tcp && std::strtoul(state.c_str(), nullptr, 16) == kTcpListen};
    if (!is_nobody(remote)) words.details += " -> " + address_text(remote);
    table[std::strtoull(inode.c_str(), nullptr, 10)] = std::move(words);
  }
}

void add_unix_sockets(SocketTable& table, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    unsigned long flags = 0, inode = 0;
    int path_at = 0;
    if (std::sscanf(line.c_str(), "%*s %*s %*s %lx %*s %*s %lu %n", &flags, &inode, &path_at) < 2) {
      continue;
    }
    std::string path = path_at > 0 ? line.substr(static_cast<std::size_t>(path_at)) : "";
    table[inode] = {.details = path.empty() ? "unnamed" : std::move(path),
                    .listening = (flags & kUnixListening) != 0};
  }
}

}  // namespace ssi::check
