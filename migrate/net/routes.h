// Devices, neighbours, routes and rules, as tunnels need them; of both families. In the network
// namespace of the netlink socket; again: nothing, or the new instead of the old.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "migrate/net/netlink.h"
#include "ssid/base/result.h"

namespace ssi::net {

// Those of which this kernel has something to route: AF_INET, AF_INET6.
std::vector<int> families();

Result<> bring_up(const RouteSocket& s, const std::string& device);
// For ever.
Result<> add_neighbour(const RouteSocket& s, const std::string& device, const std::string& address,
                       const std::string& lladdr);

struct Way {
  int family = AF_INET;
  std::uint32_t table = 254;  // the main one
  std::string device;         // empty: a black hole
  std::string gateway;        // empty: none
  std::string source;         // empty: none
  std::uint32_t metric = 1;   // of IPv6, 0 would be 1024
};
Result<> add_default_route(const RouteSocket& s, const Way& way);
// ::1 is at this device, too: else what comes by it is not taken.
Result<> add_loopback_route(const RouteSocket& s, const std::string& device);
// What has this mark is routed by the table of this number. What is for this host is delivered
// here, but for what our marks send elsewhere.
Result<> add_mark_rules(const RouteSocket& s, std::uint32_t mark);

}  // namespace ssi::net
