#include "ssid/daemon/move_claims.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("a process is part of one move at a time") {
  MoveClaims claims;
  const SsiPid tree{NodeId{1}, 10}, other{NodeId{1}, 12};
  CHECK(claims.claim(tree, {10}));
  CHECK(claims.claim(tree, {10, 11, 12}));  // more of it were found
  const auto refused = claims.claim(other, {9, 12});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kBusy);
  CHECK(refused.error().message() == "process 12 is being moved already");
  CHECK(claims.claim(SsiPid{NodeId{1}, 9}, {9}));  // the refused one has claimed nothing
  claims.release(tree);
  CHECK(claims.claim(other, {12}));
}
