#include "migrate/fds/netlink_socket.h"

#include <doctest/doctest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

namespace ssi::fds {
namespace {

UniqueFd open_route() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  REQUIRE(socket);
  return socket;
}

void bind_to(const UniqueFd& socket, std::uint32_t port, std::uint32_t groups) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port;
  address.nl_groups = groups;
  REQUIRE(::bind(*socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

void ask_for_links(const UniqueFd& socket) {
  struct {
    nlmsghdr head;
    rtgenmsg body;
  } request{};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = RTM_GETLINK;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  REQUIRE(::send(*socket, &request, sizeof request, 0) == sizeof request);
}

std::string why(const UniqueFd& socket) {
  return why_netlink_stays(read_netlink_socket(*socket, ::getpid()));
}

}  // namespace

TEST_CASE("a socket to the kernel that only asks moves, until there is an answer to read") {
  const UniqueFd socket = open_route();
  CHECK(why(socket) == "");
  bind_to(socket, 0, 0);
  CHECK(read_netlink_socket(*socket, ::getpid()).port != 0);
  CHECK(why(socket) == "");
  ask_for_links(socket);
  CHECK(why(socket) == "with an answer that was not read yet");
  char answer[32 << 10];
  while (::recv(*socket, answer, sizeof answer, MSG_DONTWAIT) > 0) continue;
  CHECK(why(socket) == "");
}

TEST_CASE("why a socket to the kernel stays") {
  const UniqueFd told = open_route();
  bind_to(told, 0, RTMGRP_LINK);
  CHECK(why(told) == "that is told of changes here (by a multicast group)");
  const UniqueFd with_option = open_route();
  const int on = 1;
  REQUIRE(::setsockopt(*with_option, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) == 0);
  CHECK(why(with_option) == "with the option NETLINK_EXT_ACK, which would be forgotten");
  NetlinkSocket socket;
  CHECK(why_netlink_stays(socket) == "");
  socket.unread = true;
  CHECK(why_netlink_stays(socket).starts_with("with an answer"));
  socket.type = SOCK_DGRAM;
  CHECK(why_netlink_stays(socket).ends_with("(SOCK_RAW)"));
  socket.of_other_network = true;
  CHECK(why_netlink_stays(socket) == "of another network namespace than its own");
  socket.has_peer = true;
  CHECK(why_netlink_stays(socket) == "that is connected with another one");
  socket.protocol = NETLINK_GENERIC;
  CHECK(why_netlink_stays(socket).starts_with("of a protocol"));
}

TEST_CASE("the numbers of a process's sockets to the kernel") {
  const UniqueFd socket = open_route();
  bind_to(socket, 70041, 0);
  const auto ports = netlink_ports(::getpid());
  REQUIRE(ports);
  CHECK(ports->contains(70041));
  CHECK(!ports->contains(70042));
}

}  // namespace ssi::fds
