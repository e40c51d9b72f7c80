#include "migrate/net/netlink.h"

#include <linux/netlink.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include "migrate/net/moved_socket.h"

namespace ssi::net {

void RouteSocket::Free::operator()(nl_sock* s) const { nl_socket_free(s); }

void FreeAddress::operator()(nl_addr* a) const { nl_addr_put(a); }

Result<RouteSocket> RouteSocket::open() {
  RouteSocket s;
  s.socket_.reset(nl_socket_alloc());
  if (!s.socket_) return Error("no memory");
  SSI_TRY(done(nl_connect(s.get(), NETLINK_ROUTE), "netlink"));
  return s;
}

Result<> done(int code, const std::string& what) {
  if (code >= 0) return {};
  return Error(what + ": " + nl_geterror(code));
}
Result<> added(int code, const std::string& what) {
  return code == -NLE_EXIST ? Result<>() : done(code, what);
}

Result<Address> parse_address(const std::string& text) {
  nl_addr* parsed = nullptr;
  int family = AF_INET;
  if (text.find(':') != std::string::npos) {
    family = is_ipv6(text.substr(0, text.find('/'))) ? AF_INET6 : AF_LLC;
  }
  if (nl_addr_parse(text.c_str(), family, &parsed) < 0) return Error(text + " is no address");
  return Address(parsed);
}

}  // namespace ssi::net
