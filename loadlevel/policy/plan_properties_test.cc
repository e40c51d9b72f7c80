// What must hold for every view there can be. A failure prints the line to repeat it (RC_PARAMS).
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include "loadlevel/policy/cost.h"
#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {

double number(int low, int high) { return *rc::gen::inRange(low * 100, high * 100 + 1) / 100.0; }

ClusterLoad any_view() {
  ClusterLoad v;
  const int nodes = *rc::gen::inRange(1, 8);
  v.here = {static_cast<std::uint32_t>(*rc::gen::inRange(1, nodes + 1))};
  v.tick = static_cast<std::uint64_t>(*rc::gen::inRange(0, 1000));
  v.balancing = *rc::gen::inRange(0, 10) != 0;
  v.quorate = *rc::gen::inRange(0, 10) != 0;
  v.link_bytes_s = *rc::gen::inRange(0, 2) * 1e8;
  for (int i = 1; i <= nodes; ++i) {
    NodeLoad n =
        node(static_cast<std::uint32_t>(i), number(0, 12), *rc::gen::element(1, 1, 2, 4, 16));
    n.up = *rc::gen::inRange(0, 6) != 0 || n.id == v.here;
    n.accepting = *rc::gen::inRange(0, 6) != 0;
    n.drained = *rc::gen::inRange(0, 10) == 0;
    n.speed_mhz = *rc::gen::element(0, 1000, 2000, 4000);
    n.taken_us = kNow_us - *rc::gen::inRange<std::int64_t>(0, 8'000'000);
    n.memory_available_bytes = static_cast<std::uint64_t>(*rc::gen::inRange(0, 8193)) * kMiB;
    n.memory_trend_bytes_s = number(-300, 300) * static_cast<double>(kMiB);
    n.demand_arriving = *rc::gen::inRange(0, 3);
    n.demand_leaving = *rc::gen::inRange(0, 3);
    n.moves_arriving = *rc::gen::inRange(0, 6);
    v.nodes.push_back(n);
  }
  const int jobs = *rc::gen::inRange(0, 13);
  for (int i = 0; i < jobs; ++i) {
    ProcessLoad p =
        job(i, number(0, 100), static_cast<std::uint64_t>(*rc::gen::inRange(0, 3000)) * kMiB,
            static_cast<std::uint32_t>(*rc::gen::inRange(1, nodes + 1)));
    p.enabled = *rc::gen::inRange(0, 5) != 0;
    p.pinned = *rc::gen::inRange(0, 8) == 0;
    p.moving = *rc::gen::inRange(0, 8) == 0;
    p.state = *rc::gen::element('R', 'R', 'S', 'T', 'Z');
    p.demand = number(0, 4);
    p.moves = *rc::gen::inRange(0, 5);
    p.last_move_us = kNow_us - *rc::gen::inRange<std::int64_t>(0, 100'000'000);
    if (*rc::gen::inRange(0, 6) == 0) {
      p.refusals.push_back({{static_cast<std::uint32_t>(*rc::gen::inRange(0, nodes + 1))},
                            "because",
                            kNow_us + *rc::gen::inRange<std::int64_t>(-5'000'000, 5'000'000)});
    }
    v.processes.push_back(p);
  }
  return v;
}

const ProcessLoad& process_of(const ClusterLoad& v, SsiPid pid) {
  for (const auto& p : v.processes) {
    if (p.pid == pid) return p;
  }
  RC_FAIL("a process that is not in the view");
}

}  // namespace

TEST_CASE("nothing forbidden is ever planned") {
  CHECK(rc::check([] {
    const ClusterLoad v = any_view();
    const PolicyConfig config;
    const Plan result = plan(v, config, kNow_us);
    RC_ASSERT(result.moves.size() + result.stays.size() == v.processes.size());
    RC_ASSERT(result.moves.size() <= 4u);
    const NodeLoad& self = *v.find(v.here);
    for (const auto& m : result.moves) {
      const ProcessLoad& p = process_of(v, m.pid);
      const NodeLoad* to = v.find(m.to);
      RC_ASSERT(v.quorate);
      RC_ASSERT(v.balancing || self.drained);
      RC_ASSERT(m.from == v.here);
      RC_ASSERT(to != nullptr && m.to != v.here);
      RC_ASSERT(to->up && !to->drained && (to->accepting || self.drained));
      RC_ASSERT(kNow_us - to->taken_us <= 5'000'000);
      RC_ASSERT(p.enabled || (self.drained && p.pid.home != v.here));
      RC_ASSERT(!p.pinned && !p.moving && p.state != 'Z');
      for (const auto& r : p.refusals) {
        RC_ASSERT(r.until_us <= kNow_us || (r.target && r.target != m.to));
      }
      RC_ASSERT(!m.reasons.empty());
      RC_ASSERT(m.cost_s > 0);
    }
    for (const auto& e : result.stays) RC_ASSERT(!e.reasons.empty());
  }));
}

TEST_CASE("no move makes the cost of the cluster higher, unless the node is drained") {
  CHECK(rc::check([] {
    const ClusterLoad v = any_view();
    const PolicyConfig config;
    const NodeLoad& self = *v.find(v.here);
    RC_PRE(!self.drained);
    const Plan result = plan(v, config, kNow_us);
    std::vector<Level> levels;
    for (const auto& n : v.nodes) levels.push_back(Level::of(n, self.speed_mhz));
    const auto level = [&](NodeId id) -> Level& {
      for (auto& l : levels) {
        if (l.id == id) return l;
      }
      RC_FAIL("unknown node");
    };
    const auto total = [&] {
      double sum = 0;
      for (const auto& l : levels) sum += node_cost(l, config);
      return sum;
    };
    for (const auto& m : result.moves) {
      const double before = total();
      level(m.from).remove(m.demand, static_cast<double>(m.bytes));
      level(m.to).add(m.demand, static_cast<double>(m.bytes));
      // Coming home may cost as much as home is preferred.
      const double home = m.to == m.pid.home ? config.home_preference : 0;
      RC_ASSERT(total() <= before + home + 1e-6);
    }
  }));
}

TEST_CASE("equal input, equal plan") {
  CHECK(rc::check([] {
    const ClusterLoad v = any_view();
    const Plan a = plan(v, {}, kNow_us);
    const Plan b = plan(v, {}, kNow_us);
    RC_ASSERT(a.moves.size() == b.moves.size());
    for (std::size_t i = 0; i < a.moves.size(); ++i) {
      RC_ASSERT(a.moves[i].pid == b.moves[i].pid);
      RC_ASSERT(a.moves[i].to == b.moves[i].to);
      RC_ASSERT(a.moves[i].reasons == b.moves[i].reasons);
    }
    for (std::size_t i = 0; i < a.stays.size(); ++i) {
      RC_ASSERT(a.stays[i].pid == b.stays[i].pid);
      RC_ASSERT(a.stays[i].verdict == b.stays[i].verdict);
      RC_ASSERT(a.stays[i].reasons == b.stays[i].reasons);
    }
  }));
}

TEST_CASE(
    "no node is sent more at once than moves_per_target allows, and targets keep their reserve") {
  CHECK(rc::check([] {
    const ClusterLoad v = any_view();
    const Plan result = plan(v, {}, kNow_us);
    for (const auto& n : v.nodes) {
      int sent = 0;
      double bytes = 0;
      for (const auto& m : result.moves) {
        if (m.to != n.id) continue;
        ++sent;
        bytes += static_cast<double>(m.bytes);
      }
      if (sent == 0) continue;
      RC_ASSERT(sent + n.moves_arriving <= 4);
      RC_ASSERT(static_cast<double>(n.memory_available_bytes) - bytes >=
                0.1 * static_cast<double>(n.memory_total_bytes) - 1);
    }
  }));
}
