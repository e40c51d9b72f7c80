#include "ssid/base/ids.h"

#include <doctest/doctest.h>

namespace ssi {

TEST_CASE("a PID inside a range names its home") {
  auto p = SsiPid::parse("65600", NodeId{2});
  REQUIRE(p.ok());
  CHECK(p->home == NodeId{1});
  CHECK(p->to_string() == "65600");
}

TEST_CASE("a PID older than ssid belongs to the node where it was typed, and is written NODE:PID") {
  auto p = SsiPid::parse("345", NodeId{2});
  REQUIRE(p.ok());
  CHECK(p->home == NodeId{2});
  CHECK(p->to_string() == "2:345");
  CHECK(SsiPid::parse("2:345", NodeId{1}).value() == *p);
}

TEST_CASE("what is not a process id is refused with its text") {
  for (const char* text : {"", "x", "-1", "0", "1:", ":5", "1:x", "12x", "99999999999", "0:5"}) {
    CAPTURE(text);
    auto p = SsiPid::parse(text, NodeId{1});
    REQUIRE(!p.ok());
    CHECK(p.error().code() == ErrorCode::kUsage);
  }
}

}  // namespace ssi
