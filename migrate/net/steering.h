// Home's rules for the packets of its guests, as one text for nft: a pure function of who has which
// sockets where. docs/network.md tells the story.
//
// There are two tables alike, `ip ssid` and `ip6 ssid`. The text is complete and atomic: applied at
// any time, by any ssid, it makes the table what is wanted. What the table has learned by itself
// (the sets learned_N) stays.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "migrate/net/moved_socket.h"
#include "ssid/base/ids.h"

namespace ssi::net {

// The network of one process that is or was away.
struct Placement {
  NodeId place;            // where it runs; home, when it has come back
  NodeId target{};         // not 0: it is on its way there, and what comes for it is held
  std::uint64_t term = 0;  // of the cluster, in which that move began
  std::vector<MovedSocket> sockets;
  std::vector<MovedSocket> quiet{};  // before the freeze: whoever is new there waits
  bool moving() const { return static_cast<bool>(target); }
};

struct Steering {
  NodeId home;
  std::set<NodeId> tunnels;            // nodes that have a realm of this home
  std::vector<std::string> addresses;  // home's of both families, 127.0.0.1 and ::1 among them
  bool ipv6 = true;                    // this kernel has it
  bool guard = false;                  // nothing but guests' packets is forwarded
  bool guard6 = false;                 // the same for IPv6
  std::map<SsiPid, Placement> guests;
};

// Marks: which way a packet goes. The rules of `ip rule` that belong to them are made with the
// tunnels.
constexpr std::uint32_t kMarkBase = 0x551d0000;
constexpr std::uint32_t kHoldMark = kMarkBase | 0xffff;
std::uint32_t mark_of(NodeId node);
// criu's own, fixed: where it rebuilds a connection whose peer has said all it had to say (FIN), it
// says so once more to the new socket, in the peer's name. That packet is for this machine only.
constexpr std::uint32_t kCriuMark = 0xc114;

std::string ruleset(const Steering& steering);

}  // namespace ssi::net
