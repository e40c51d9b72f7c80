#include "migrate/net/tunnel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vxlan.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <fstream>

#include "migrate/net/ipv6.h"
#include "migrate/net/moved_socket.h"
#include "migrate/net/nft.h"
#include "migrate/net/routes.h"
#include "migrate/net/steering.h"
#include "ssid/base/unique_fd.h"

namespace ssi::net {
namespace {

constexpr std::uint32_t kNodesMax = 4096;   // twelve bits each in a vxlan's network id
constexpr std::uint16_t kVxlanPort = 7790;  // of our own: others may have vxlan networks, too
// Home's end takes what others send in their full size: the outer packet is cut if need be.
constexpr unsigned kHomeMtu = 65000;
constexpr unsigned kRealmMtu = 1450;
constexpr std::uint32_t kFallbackMetric = 1000;
constexpr const char* kRealmDevice = "home";
constexpr const char* kHomeGateway = "169.254.115.1";
constexpr const char* kRealmGateway = "169.254.115.2";
// Link-local; nobody has it, its owner's MAC address is told beforehand.
constexpr const char* kHomeGateway6 = "fe80::73:1";
constexpr const char* kRealmGateway6 = "fe80::73:2";
// New connections of a realm come from ports that home does not give to its own.
constexpr std::uint32_t kGuestPortsFirst = 20480;
constexpr std::uint32_t kPortsPerNode = 256;
constexpr std::uint32_t kPortSlices = 48;

using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link_put>>;
using InterfaceAddress = std::unique_ptr<rtnl_addr, Freed<rtnl_addr_put>>;

Result<> set(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/net/ipv4/" + name);
  file << value << std::flush;
  if (!file) return Error("can't set net.ipv4." + name);
  return {};
}

std::string device_of(NodeId node) { return "ssid-n" + std::to_string(node.value); }

// ..1 at home's end, ..2 at the realm's.
std::string mac(const TunnelEnds& e, int end) {
  char text[32];
  std::snprintf(text, sizeof text, "02:73:%02x:%02x:%02x:%02x", e.home.value >> 8,
                e.home.value & 0xff, e.node.value & 0xff, end);
  return text;
}

Result<Link> vxlan(const TunnelEnds& e, bool at_home) {
  if (e.home.value >= kNodesMax || e.node.value >= kNodesMax) {
    return Error("a tunnel needs node numbers below " + std::to_string(kNodesMax));
  }
  SSI_ASSIGN(const Address local, parse_address(at_home ? e.home_address : e.node_address));
  SSI_ASSIGN(const Address remote, parse_address(at_home ? e.node_address : e.home_address));
  SSI_ASSIGN(const Address lladdr, parse_address(mac(e, at_home ? 1 : 2)));
  Link link(rtnl_link_vxlan_alloc());
  if (!link) return Error("no memory");
  rtnl_link_set_name(link.get(), at_home ? device_of(e.node).c_str() : kRealmDevice);
  rtnl_link_set_addr(link.get(), lladdr.get());
  rtnl_link_set_mtu(link.get(), at_home ? kHomeMtu : kRealmMtu);
  rtnl_link_vxlan_set_id(link.get(), e.home.value * kNodesMax + e.node.value);
  rtnl_link_vxlan_set_local(link.get(), local.get());
  rtnl_link_vxlan_set_group(link.get(), remote.get());
  rtnl_link_vxlan_set_port(link.get(), kVxlanPort);
  rtnl_link_vxlan_set_learning(link.get(), 0);
  return link;
}

// Packets with home's own addresses, also 127.0.0.1 and ::1, come and go by it. It is brought up.
Result<> open_wide(const RouteSocket& s, const std::string& device) {
  for (const auto& [key, value] : {std::pair{"rp_filter", "0"},
                                   {"accept_local", "1"},
                                   {"route_localnet", "1"},
                                   {"send_redirects", "0"},
                                   {"accept_redirects", "0"}}) {
    SSI_TRY(set("conf/" + device + "/" + key, value));
  }
  if (has_ipv6()) SSI_TRY(prepare_ipv6_device(device));
  SSI_TRY(bring_up(s, device));
  return has_ipv6() ? add_loopback_route(s, device) : Result<>();
}

// Both families' ways of what has the mark.
Result<> add_default_routes(const RouteSocket& s, const std::string& device, std::uint32_t table,
                            bool to_home) {
  for (const int family : families()) {
    const char* const gateway = family == AF_INET ? (to_home ? kHomeGateway : kRealmGateway)
                                                  : (to_home ? kHomeGateway6 : kRealmGateway6);
    SSI_TRY(add_default_route(
        s, {.family = family, .table = table, .device = device, .gateway = gateway}));
  }
  return {};
}

Result<> add_neighbours(const RouteSocket& s, const std::string& device, bool home,
                        const std::string& lladdr) {
  SSI_TRY(add_neighbour(s, device, home ? kHomeGateway : kRealmGateway, lladdr));
  if (!has_ipv6()) return {};
  return add_neighbour(s, device, home ? kHomeGateway6 : kRealmGateway6, lladdr);
}

// In a realm ::1, as 127.0.0.1, is at home.
std::string realm_table(std::uint32_t mark, bool ipv6) {
  const std::string table = ipv6 ? "ip6 ssid " : "ip ssid ", chain = "add chain " + table,
                    rule = "add rule " + table, device = kRealmDevice, alias = kLoopbackAlias,
                    ping = ipv6 ? "icmpv6 type echo-request" : "icmp type echo-request",
                    to_home = " fib daddr type local meta mark set " + std::to_string(mark) + "\n";
  std::string text =
      "add table " + table + "\n" + chain + "output { type route hook output priority mangle; }\n" +
      rule + "output meta mark " + std::to_string(kCriuMark) + " accept\n" + rule +
      "output meta l4proto { tcp, udp, udplite }" + to_home + rule + "output " + ping +
      to_home
      // The tunnel's own packets are routed by this node, by their mark too. Here it
      // would mean the tunnel to a realm of this node's own guests.
      + chain + "postrouting { type filter hook postrouting priority mangle; }\n" + rule +
      "postrouting oifname \"" + device + "\" meta mark set 0\n";
  if (!ipv6) return text;
  text += chain + "prerouting { type filter hook prerouting priority mangle; }\n";
  for (const std::string side : {"ip6 saddr ", "ip6 daddr "}) {
    text +=
        rule + "prerouting iifname \"" + device + "\" " + side + alias + " " + side + "set ::1\n";
  }
  return text;
}

}  // namespace

Result<> ensure_hold_route() {
  SSI_ASSIGN(const RouteSocket s, RouteSocket::open());
  for (const int family : families()) {
    SSI_TRY(
        add_default_route(s, {.family = family, .table = kHoldMark, .metric = kFallbackMetric}));
  }
  // Else the kernel binds a packet to the socket that is (still) here before it asks our rules, and
  // then drops it because it is to be forwarded.
  SSI_TRY(set("ip_early_demux", "0"));
  return add_mark_rules(s, kHoldMark);
}

Result<> route_held_to(const std::string& device) {
  SSI_ASSIGN(const RouteSocket s, RouteSocket::open());
  SSI_TRY(open_wide(s, device));
  for (const int family : families()) {
    SSI_TRY(add_default_route(s, {.family = family, .table = kHoldMark, .device = device}));
  }
  return {};
}

Result<> ensure_home_end(const TunnelEnds& e) {
  const std::string device = device_of(e.node);
  SSI_ASSIGN(const RouteSocket s, RouteSocket::open());
  SSI_ASSIGN(const Link link, vxlan(e, true));
  SSI_TRY(added(rtnl_link_add(s.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL), device));
  SSI_TRY(open_wide(s, device));
  SSI_TRY(add_neighbours(s, device, false, mac(e, 2)));
  const std::uint32_t mark = mark_of(e.node);
  SSI_TRY(add_default_routes(s, device, mark, false));
  for (const int family : families()) {
    SSI_TRY(add_default_route(s, {.family = family, .table = mark, .metric = kFallbackMetric}));
  }
  return add_mark_rules(s, mark);
}

std::vector<NodeId> find_home_ends() {
  std::vector<NodeId> nodes;
  struct if_nameindex* const all = ::if_nameindex();
  for (auto* i = all; i != nullptr && i->if_index != 0; ++i) {
    const std::string_view name(i->if_name);
    if (!name.starts_with("ssid-n")) continue;
    NodeId node;
    const char* const end = name.data() + name.size();
    if (std::from_chars(name.data() + 6, end, node.value).ptr == end) nodes.push_back(node);
  }
  ::if_freenameindex(all);
  return nodes;
}

Result<> make_realm_end(const RouteSocket& outside, const TunnelEnds& e,
                        const HomeAddresses& addresses) {
  const UniqueFd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here) return Error::from_errno("network namespace");
  SSI_ASSIGN(const Link link, vxlan(e, false));
  rtnl_link_set_ns_fd(link.get(), *here);
  SSI_TRY(done(rtnl_link_add(outside.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL), "tunnel"));
  const std::string device = kRealmDevice;
  SSI_ASSIGN(const RouteSocket s, RouteSocket::open());
  SSI_TRY(open_wide(s, device));
  for (const std::string& text : addresses.all) {
    if (is_ipv6(text) && !has_ipv6()) continue;
    SSI_ASSIGN(const Address address, parse_address(text + (is_ipv6(text) ? "/128" : "/32")));
    const InterfaceAddress a(rtnl_addr_alloc());
    rtnl_addr_set_ifindex(a.get(), static_cast<int>(::if_nametoindex(device.c_str())));
    rtnl_addr_set_local(a.get(), address.get());
    if (is_ipv6(text)) rtnl_addr_set_flags(a.get(), IFA_F_NODAD);  // home has it, of course
    SSI_TRY(added(rtnl_addr_add(s.get(), a.get(), 0), "address " + text));
  }
  SSI_TRY(add_neighbours(s, device, true, mac(e, 1)));
  const std::uint32_t mark = mark_of(e.home);
  SSI_TRY(add_default_route(
      s, {.device = device, .gateway = kHomeGateway, .source = addresses.source}));
  if (has_ipv6() && !addresses.source6.empty()) {
    SSI_TRY(add_default_route(s, {.family = AF_INET6,
                                  .device = device,
                                  .gateway = kHomeGateway6,
                                  .source = addresses.source6}));
  }
  SSI_TRY(add_default_routes(s, device, mark, true));
  SSI_TRY(add_mark_rules(s, mark));
  const std::uint32_t first = kGuestPortsFirst + e.node.value % kPortSlices * kPortsPerNode;
  SSI_TRY(set("ip_local_port_range",
              std::to_string(first) + " " + std::to_string(first + kPortsPerNode - 1)));
  // Who had a socket for pings at home is to have it here, whatever group home gives it to.
  SSI_TRY(set("ping_group_range", "0 2147483647"));
  // Home's own addresses, 127.0.0.1 among them, are at home: whoever has the port is known there.
  return apply_nft(realm_table(mark, false) + (has_ipv6() ? realm_table(mark, true) : ""));
}

}  // namespace ssi::net
