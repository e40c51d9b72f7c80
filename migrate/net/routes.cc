#include "migrate/net/routes.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>

#include "migrate/net/ipv6.h"

namespace ssi::net {
namespace {

constexpr std::uint32_t kMarkRulePriority = 50;
constexpr std::uint32_t kLocalRulePriority = 100;
constexpr std::uint32_t kLoopbackMetric = 2048;

using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link_put>>;
using Neighbour = std::unique_ptr<rtnl_neigh, Freed<rtnl_neigh_put>>;
using Route = std::unique_ptr<rtnl_route, Freed<rtnl_route_put>>;
using Rule = std::unique_ptr<rtnl_rule, Freed<rtnl_rule_put>>;

Rule make_rule(int family, std::uint32_t priority, std::uint32_t table, std::uint32_t mark) {
  Rule r(rtnl_rule_alloc());
  rtnl_rule_set_family(r.get(), family);
  rtnl_rule_set_prio(r.get(), priority);
  rtnl_rule_set_table(r.get(), table);
  rtnl_rule_set_action(r.get(), FR_ACT_TO_TBL);
  if (mark != 0) {
    rtnl_rule_set_mark(r.get(), mark);
    rtnl_rule_set_mask(r.get(), 0xffffffff);
  }
  return r;
}

Result<> add_mark_rule(const RouteSocket& s, int family, std::uint32_t mark) {
  const Rule ours = make_rule(family, kMarkRulePriority, mark, mark);
  SSI_TRY(added(rtnl_rule_add(s.get(), ours.get(), NLM_F_CREATE | NLM_F_EXCL), "rule"));
  const Rule later = make_rule(family, kLocalRulePriority, RT_TABLE_LOCAL, 0);
  SSI_TRY(added(rtnl_rule_add(s.get(), later.get(), NLM_F_CREATE | NLM_F_EXCL), "rule"));
  const Rule first = make_rule(family, 0, RT_TABLE_LOCAL, 0);
  const int code = rtnl_rule_delete(s.get(), first.get(), 0);
  return code == -NLE_OBJ_NOTFOUND ? Result<>() : done(code, "rule");
}

}  // namespace

Result<> bring_up(const RouteSocket& s, const std::string& device) {
  const unsigned index = ::if_nametoindex(device.c_str());
  const Link old(rtnl_link_alloc()), changed(rtnl_link_alloc());
  rtnl_link_set_ifindex(old.get(), static_cast<int>(index));
  rtnl_link_set_flags(changed.get(), IFF_UP);
  return done(rtnl_link_change(s.get(), old.get(), changed.get(), 0), "bring up " + device);
}

Result<> add_neighbour(const RouteSocket& s, const std::string& device, const std::string& address,
                       const std::string& lladdr) {
  SSI_ASSIGN(const Address ip, parse_address(address));
  SSI_ASSIGN(const Address ll, parse_address(lladdr));
  const Neighbour n(rtnl_neigh_alloc());
  rtnl_neigh_set_ifindex(n.get(), static_cast<int>(::if_nametoindex(device.c_str())));
  rtnl_neigh_set_dst(n.get(), ip.get());
  rtnl_neigh_set_lladdr(n.get(), ll.get());
  rtnl_neigh_set_state(n.get(), NUD_PERMANENT);
  return done(rtnl_neigh_add(s.get(), n.get(), NLM_F_CREATE | NLM_F_REPLACE), "neighbour");
}

std::vector<int> families() {
  return has_ipv6() ? std::vector{AF_INET, AF_INET6} : std::vector{AF_INET};
}

Result<> add_default_route(const RouteSocket& s, const Way& way) {
  SSI_ASSIGN(const Address everywhere, parse_address(way.family == AF_INET ? "0.0.0.0/0" : "::/0"));
  const Route r(rtnl_route_alloc());
  rtnl_route_set_family(r.get(), static_cast<std::uint8_t>(way.family));
  rtnl_route_set_table(r.get(), way.table);
  rtnl_route_set_dst(r.get(), everywhere.get());
  rtnl_route_set_priority(r.get(), way.metric);
  rtnl_route_set_scope(r.get(), RT_SCOPE_UNIVERSE);
  if (way.device.empty()) {
    rtnl_route_set_type(r.get(), RTN_BLACKHOLE);
  } else {
    rtnl_nexthop* hop = rtnl_route_nh_alloc();
    rtnl_route_nh_set_ifindex(hop, static_cast<int>(::if_nametoindex(way.device.c_str())));
    if (!way.gateway.empty()) {
      SSI_ASSIGN(const Address gateway, parse_address(way.gateway));
      rtnl_route_nh_set_gateway(hop, gateway.get());
      rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
    }
    rtnl_route_add_nexthop(r.get(), hop);
  }
  if (!way.source.empty()) {
    SSI_ASSIGN(const Address source, parse_address(way.source));
    rtnl_route_set_pref_src(r.get(), source.get());
  }
  return done(rtnl_route_add(s.get(), r.get(), NLM_F_CREATE | NLM_F_REPLACE), "route");
}

Result<> add_loopback_route(const RouteSocket& s, const std::string& device) {
  SSI_ASSIGN(const Address loopback, parse_address("::1/128"));
  const Route r(rtnl_route_alloc());
  rtnl_route_set_family(r.get(), AF_INET6);
  rtnl_route_set_type(r.get(), RTN_LOCAL);
  rtnl_route_set_table(r.get(), RT_TABLE_LOCAL);
  rtnl_route_set_dst(r.get(), loopback.get());
  rtnl_route_set_priority(r.get(), kLoopbackMetric);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(hop, static_cast<int>(::if_nametoindex(device.c_str())));
  rtnl_route_add_nexthop(r.get(), hop);
  // Of each device one.
  return added(rtnl_route_add(s.get(), r.get(), NLM_F_CREATE | NLM_F_APPEND), "route of ::1");
}

Result<> add_mark_rules(const RouteSocket& s, std::uint32_t mark) {
  for (const int family : families()) SSI_TRY(add_mark_rule(s, family, mark));
  return {};
}

}  // namespace ssi::net
