#include "loadlevel/policy/best_node.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {
const PolicyConfig kConfig;

NodeId best(const ClusterLoad& view, NodeId from = {}, NodeId home = {},
            std::uint64_t bytes = kMiB) {
  return best_node(view, kConfig, kNow_us, from, home, 1, bytes);
}
}  // namespace

TEST_CASE("for a new process, and for one that is to go elsewhere") {
  ClusterLoad v = view(2, {node(2, 1), node(3, 0), node(4, 0)});
  CHECK(best(v) == NodeId{3});
  CHECK(best(v, {3}) == NodeId{4});
  CHECK(best(v, {}, {4}) == NodeId{4});
  v.nodes[2].drained = v.nodes[3].drained = true;
  CHECK(best(v) == NodeId{2});
  v.nodes[1].up = false;
  CHECK(best(v, {1}) == NodeId{});
}

TEST_CASE("the emptiest node is passed over if it can't take the process in") {
  ClusterLoad v = view(2, {node(2, 1), node(3, 0)});
  REQUIRE(best(v) == NodeId{3});
  NodeLoad& emptiest = v.nodes[2];
  SUBCASE("it takes in no guests") { emptiest.accepting = false; }
  SUBCASE("it has not been heard of for too long") {
    emptiest.taken_us = kNow_us - static_cast<std::int64_t>(kConfig.stale_after_s * 1e6) - 1;
  }
  SUBCASE("its memory would go below the reserve") {
    const double reserve =
        kConfig.memory_reserve * static_cast<double>(emptiest.memory_total_bytes);
    emptiest.memory_available_bytes = static_cast<std::uint64_t>(reserve) + kMiB / 2;
  }
  CHECK(best(v) == NodeId{2});
}
