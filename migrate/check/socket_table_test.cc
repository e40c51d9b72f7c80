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
  CHECK(table.size() == 3);
}

TEST_CASE("unix lines become words") {
  SocketTable table;
  add_unix_sockets(table,
                   "Num       RefCount Protocol Flags    Type St Inode Path\n"
                   "000000003a71e83d: 00000003 00000000 00000000 0001 03   125\n"
                   "000000003a71e83e: 00000002 00000000 00010000 0001 01   126 /run/a b.sock\n");
  CHECK(table.at(125).details == "unnamed");
  CHECK(table.at(126).details == "/run/a b.sock");
  CHECK(table.at(126).listening);
}

}  // namespace ssi::check
