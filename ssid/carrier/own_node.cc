#include "ssid/carrier/own_node.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace ssi {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::set<std::string> own_addresses() {
  std::set<std::string> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    char text[NI_MAXHOST];
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (::getnameinfo(at->ifa_addr, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      addresses.insert(text);
    }
  }
  ::freeifaddrs(list);
  return addresses;
}

}  // namespace

Result<NodeId> own_node_in(std::string_view conf, const std::set<std::string>& addresses,
                           std::string_view host_name) {
  // corosync's format: `section {`, `key: value`, `}`, one a line.
  bool in_node = false;
  bool ours = false;
  NodeId id;
  while (!conf.empty()) {
    const auto end = conf.find('\n');
    const std::string_view line = trimmed(conf.substr(0, end));
    conf = end == std::string_view::npos ? std::string_view() : conf.substr(end + 1);
    if (line.empty() || line.front() == '#') continue;
    if (line.back() == '{') {
      in_node = trimmed(line.substr(0, line.size() - 1)) == "node";
      ours = false;
      id = {};
      continue;
    }
    if (line == "}") {
      if (in_node && ours && id) return id;
      in_node = false;
      continue;
    }
    const auto colon = line.find(':');
    if (!in_node || colon == std::string_view::npos) continue;
    const std::string_view key = trimmed(line.substr(0, colon));
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (key == "nodeid") {
      std::from_chars(value.data(), value.data() + value.size(), id.value);
    } else if (key == "name") {
      ours = ours || value == host_name;
    } else if (key.starts_with("ring") && key.ends_with("_addr")) {
      ours = ours || value == host_name || addresses.contains(std::string(value));
    }
  }
  return Error("no node of corosync.conf has an address of this machine; say --node");
}

Result<NodeId> find_own_node(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error::from_errno("open " + path);
  std::stringstream text;
  text << file.rdbuf();
  char host[256] = {};
  (void)::gethostname(host, sizeof(host) - 1);
  return own_node_in(text.str(), own_addresses(), host);
}

}  // namespace ssi
