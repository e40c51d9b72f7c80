#include "ssid/carrier/own_node.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("a node is known by one of its addresses, or its name") {
  const char* conf =
      "totem {\n  version: 2\n}\nnodelist {\n"
      "  node {\n    ring0_addr: 10.0.0.1\n    ring1_addr: 10.1.0.1\n    nodeid: 1\n    name: "
      "one\n  }\n"
      "  node {\n    nodeid: 2\n    ring0_addr: two\n  }\n}\n";
  CHECK(own_node_in(conf, {"127.0.0.1", "10.1.0.1"}, "x")->value == 1);
  CHECK(own_node_in(conf, {}, "two")->value == 2);
  CHECK(own_node_in(conf, {}, "one")->value == 1);
  CHECK_FALSE(own_node_in(conf, {"10.0.0.9"}, "x").ok());
  CHECK_FALSE(own_node_in("rubbish\n}}}{", {"10.0.0.9"}, "x").ok());
}
