#include "loadlevel/policy/admission.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {
ClusterLoad target(double runnable) {
  ClusterLoad v;
  v.here = {2};
  v.nodes = {node(1, 4), node(2, runnable)};
  return v;
}
Arrival arrival(double slowdown) {
  return {.from = {1}, .source_slowdown = slowdown, .bytes = 10 * kMiB};
}
}  // namespace

TEST_CASE("an idle node takes a process in, a full one does not") {
  CHECK(admit(target(0), {}, arrival(4)).ok());
  CHECK(admit(target(2), {}, arrival(4)).ok());
  const auto full = admit(target(3), {}, arrival(4));
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().code() == ErrorCode::kRefused);
  CHECK(full.error().message() ==
        "with what is on its way it would have 4.0 runnable tasks on "
        "1 CPU");
}

TEST_CASE("what is on its way counts, so that many sources can't overfill it") {
  auto v = target(0);
  v.nodes[1].demand_arriving = 3;
  CHECK_FALSE(admit(v, {}, arrival(4)).ok());
  v.nodes[1].demand_arriving = 0;
  v.nodes[1].moves_arriving = 4;
  CHECK_FALSE(admit(v, {}, arrival(4)).ok());
}

TEST_CASE("a user's wish passes a full node, not a drained one, nor one without memory") {
  auto wish = arrival(1);
  wish.by_user = true;
  auto v = target(9);
  CHECK(admit(v, {}, wish).ok());
  v.nodes[1].accepting = false;
  CHECK(admit(v, {}, wish).ok());
  CHECK_FALSE(admit(v, {}, arrival(100)).ok());
  v.nodes[1].drained = true;
  CHECK_FALSE(admit(v, {}, wish).ok());
  v = target(0);
  wish.bytes = 6000 * kMiB;
  CHECK_FALSE(admit(v, {}, wish).ok());
}

TEST_CASE(
    "what must leave its node need not be faster here; speeds are compared in the source's "
    "seconds") {
  auto must = arrival(1);
  must.must_leave = true;
  CHECK(admit(target(3), {}, must).ok());
  auto v = target(1);
  v.nodes[1].accepting = false;
  CHECK(admit(v, {}, must).ok());
  v = target(1);
  CHECK_FALSE(admit(v, {}, arrival(2)).ok());
  v.nodes[1].speed_mhz = 4000;  // twice as fast: two tasks here run as one there
  CHECK(admit(v, {}, arrival(2)).ok());
  ClusterLoad source = target(0);
  source.here = {1};
  CHECK(source_slowdown(source) == 4);
}
