// The wire between a home and its realm on another node: one vxlan device at each end, with one
// peer each. The realm's end is the realm's only way out; home's end is reached by marks
// (steering.h). Made by netlink; blocking, a millisecond.
#pragma once

#include <string>
#include <vector>

#include "migrate/net/home_addresses.h"
#include "migrate/net/netlink.h"
#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi::net {

struct TunnelEnds {
  NodeId home;
  NodeId node;
  std::string home_address;  // as the nodes reach each other
  std::string node_address;
};

// Home: devices, rules and routes; again: nothing. Also what all tunnels need: the way of held
// packets ends in nothing (or at the hold device), forwarding is on.
Result<> ensure_home_end(const TunnelEnds& ends);
Result<> ensure_hold_route();
// Held packets go to this device as long as it is there.
Result<> route_held_to(const std::string& device);
// Nodes to which home has a tunnel.
std::vector<NodeId> find_home_ends();

// The realm's end, in the calling thread's network namespace; `outside` was opened in the node's.
Result<> make_realm_end(const RouteSocket& outside, const TunnelEnds& ends,
                        const HomeAddresses& addresses);

}  // namespace ssi::net
