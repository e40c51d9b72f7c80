#include "migrate/net/home_addresses.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>

#include "migrate/net/moved_socket.h"
#include "migrate/net/netlink.h"
#include "ssid/base/unique_fd.h"

namespace ssi::net {
namespace {

using Cache = std::unique_ptr<nl_cache, Freed<nl_cache_free>>;

// Not one that is only this link's, or that is not (yet) known to be nobody else's.
bool is_usable(rtnl_addr* address) {
  constexpr unsigned kUnsure = IFA_F_TENTATIVE | IFA_F_DADFAILED;
  const int family = rtnl_addr_get_family(address);
  if (family == AF_INET) return true;
  return family == AF_INET6 && rtnl_addr_get_scope(address) == RT_SCOPE_UNIVERSE &&
         (rtnl_addr_get_flags(address) & kUnsure) == 0;
}

// Which address a packet to the world would have; nothing is sent.
std::string routed_source(int family, const std::vector<std::string>& all) {
  const auto is_of = family == AF_INET ? is_ipv4 : is_ipv6;
  UniqueFd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in world{}, own{};
  sockaddr_in6 world6{}, own6{};
  world.sin_family = AF_INET;
  world6.sin6_family = AF_INET6;
  world.sin_port = world6.sin6_port = htons(9);
  ::inet_pton(AF_INET, "192.0.2.1", &world.sin_addr);
  ::inet_pton(AF_INET6, "2001:db8::1", &world6.sin6_addr);
  const bool v4 = family == AF_INET;
  auto* const to = v4 ? reinterpret_cast<sockaddr*>(&world) : reinterpret_cast<sockaddr*>(&world6);
  auto* const from = v4 ? reinterpret_cast<sockaddr*>(&own) : reinterpret_cast<sockaddr*>(&own6);
  socklen_t size = v4 ? sizeof own : sizeof own6;
  char text[INET6_ADDRSTRLEN] = {};
  if (fd && ::connect(*fd, to, size) == 0 && ::getsockname(*fd, from, &size) == 0) {
    const void* const address = v4 ? static_cast<void*>(&own.sin_addr) : &own6.sin6_addr;
    ::inet_ntop(family, address, text, sizeof text);
    if (std::ranges::find(all, text) != all.end()) return text;
  }
  const auto first = std::ranges::find_if(all, is_of);
  return first == all.end() ? "" : *first;
}

}  // namespace

Result<HomeAddresses> read_home_addresses() {
  SSI_ASSIGN(const RouteSocket s, RouteSocket::open());
  nl_cache* raw = nullptr;
  SSI_TRY(done(rtnl_addr_alloc_cache(s.get(), &raw), "addresses"));
  const Cache cache(raw);
  HomeAddresses found;
  for (nl_object* o = nl_cache_get_first(raw); o != nullptr; o = nl_cache_get_next(o)) {
    auto* address = reinterpret_cast<rtnl_addr*>(o);
    const nl_addr* local = rtnl_addr_get_local(address);
    if (local == nullptr || !is_usable(address)) continue;
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(rtnl_addr_get_family(address), nl_addr_get_binary_addr(local), text, sizeof text);
    if (std::string_view(text).starts_with("127.")) continue;
    found.all.emplace_back(text);
  }
  found.source = routed_source(AF_INET, found.all);
  found.source6 = routed_source(AF_INET6, found.all);
  return found;
}

}  // namespace ssi::net
