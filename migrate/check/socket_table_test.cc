#include "migrate/check/socket_table.h"

#include <doctest/doctest.h>

namespace ssi::check {

TEST_CASE("tcp and tcp6 lines become words") {
  SocketTable table;
  add_inet_sockets(
      table, "tcp",
      "  sl  local_address rem_address   st ...\n"
      "   0: 0100007F:E19B 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0  "
      "      0 64033 2 0000000075493216 100 0 0 10 0\n"
      "   1: 01004D0A:A028 02004D0A:0050 01 00000000:00000000 00:00000000 00000000     0  "
      "      0 64034 1\n"
      "nonsense\n");
  add_inet_sockets(table, "tcp6",
                   "  sl\n   0: 00000000000000000000000001000000:CE93 "
                   "00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 64035 1\n");
  CHECK(table.at(64033).details == "tcp 127.0.0.1:57755");
  CHECK(table.at(64033).listening);
  CHECK(table.at(64034).details == "tcp 10.77.0.1:41000 -> 10.77.0.2:80");
  CHECK(!table.at(64034).listening);
  CHECK(table.at(64035).details == "tcp6 [::1]:52883");
  REQUIRE(table.at(64034).socket);
  CHECK(net::to_string(*table.at(64033).socket) == "tcp 127.0.0.1:57755");
  CHECK(net::to_string(*table.at(64034).socket) == "tcp 10.77.0.1:41000 10.77.0.2:80");
  CHECK(net::to_string(*table.at(64035).socket) == "tcp [::1]:52883");
  CHECK(table.size() == 3);
}

TEST_CASE("which IPv6 addresses can be steered") {
  SocketTable table;
  const std::string mapped = "0000000000000000FFFF0000", rest = " 0:0 00:0 0 0 0 ";
  add_inet_sockets(table, "tcp6",
                   "  sl\n   0: " + mapped + "0100007F:0050 " + mapped + "0200007F:CE93 01" + rest +
                       "1 1\n   1: 000080FE000000000000000001000000:0050 "
                       "00000000000000000000000000000000:0000 0A" +
                       rest + "2 1\n");
  add_inet_sockets(table, "udp6",
                   "  sl\n   0: 000000FD000000000000000001000000:0035 "
                   "000000FD000000000000000002000000:1000 01" +
                       rest +
                       "3 1\n   1: 00000000000000000000000000000000:0035 "
                       "00000000000000000000000000000000:0000 07" +
                       rest + "4 1\n");
  REQUIRE(table.at(1).socket);
  CHECK(net::to_string(*table.at(1).socket) == "tcp 127.0.0.1:80 127.0.0.2:52883");
  CHECK(table.at(1).details == "tcp6 [::ffff:127.0.0.1]:80 -> [::ffff:127.0.0.2]:52883");
  CHECK(!table.at(2).socket);  // link-local
  CHECK(table.at(2).details == "tcp6 [fe80::1]:80");
  REQUIRE(table.at(3).socket);
  CHECK(net::to_string(*table.at(3).socket) == "udp [fd00::1]:53 [fd00::2]:4096");
  REQUIRE(table.at(4).socket);
  CHECK(net::to_string(*table.at(4).socket) == "udp [::]:53");
}

TEST_CASE("UDP-Lite can be steered, raw packets and pings can't") {
  SocketTable table;
  const std::string rest = ":0035 00000000:0000 07 0:0 00:0 0 0 0 ";
  add_inet_sockets(table, "udplite", "  sl\n   0: 0100007F" + rest + "1 1\n");
  add_inet_sockets(table, "icmp", "  sl\n   0: 00000000" + rest + "2 1\n");
  add_inet_sockets(table, "raw", "  sl\n   0: 00000000" + rest + "3 1\n");
  add_inet_sockets(table, "udplite6",
                   "  sl\n   0: 00000000000000000000000000000000:0035 "
                   "00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 4 1\n");
  CHECK(table.at(1).details == "udplite 127.0.0.1:53");
  REQUIRE(table.at(1).socket);
  CHECK(net::to_string(*table.at(1).socket) == "udplite 127.0.0.1:53");
  CHECK(!table.at(2).socket);
  CHECK(!table.at(3).socket);
  REQUIRE(table.at(4).socket);
  CHECK(net::to_string(*table.at(4).socket) == "udplite [::]:53");
}

}  // namespace ssi::check
