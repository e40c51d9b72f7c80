#include "loadlevel/policy/move_ledger.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {
constexpr std::int64_t kSecond = 1'000'000;
const SsiPid kPid{{1}, 70041};
const MoveNote kNote{kPid, {1}, {2}, 1.0, 100};

ClusterLoad both(std::int64_t taken_us) {
  ClusterLoad v;
  v.here = {1};
  v.nodes = {node(1, 4), node(2, 0)};
  for (auto& n : v.nodes) n.taken_us = taken_us;
  ProcessLoad p = job(1);
  p.pid = kPid;
  v.processes = {p};
  return v;
}
}  // namespace

TEST_CASE("a move under way is counted on its target and taken off its source") {
  MoveLedger ledger{{}};
  ledger.begun(kNote, 10 * kSecond);
  auto v = both(10 * kSecond);
  ledger.annotate(v, 10 * kSecond);
  CHECK(v.nodes[0].demand_leaving == 1);
  CHECK(v.nodes[1].demand_arriving == 1);
  CHECK(v.nodes[1].bytes_arriving == 100);
  CHECK(v.nodes[1].moves_arriving == 1);
  CHECK(v.processes[0].moving);
  CHECK(v.processes[0].moves == 0);
}

TEST_CASE("after the commit each load is corrected by what it does not show yet, then no more") {
  MoveLedger ledger{{}};
  ledger.begun(kNote, 10 * kSecond);
  ledger.committed(kNote, 10 * kSecond + kSecond / 2);
  auto v = both(11 * kSecond);  // half of this second it was there
  ledger.annotate(v, 11 * kSecond);
  CHECK(v.nodes[0].demand_leaving == doctest::Approx(0));
  CHECK(v.nodes[1].demand_arriving == doctest::Approx(0.5));
  CHECK(v.nodes[1].moves_arriving == 0);
  CHECK_FALSE(v.processes[0].moving);
  CHECK(v.processes[0].moves == 1);
  CHECK(v.processes[0].last_move_us == 10 * kSecond + kSecond / 2);
  v = both(12 * kSecond);
  ledger.annotate(v, 12 * kSecond);
  CHECK(v.nodes[1].demand_arriving == doctest::Approx(0));
  v = both(10 * kSecond);  // heard late: measured before the commit
  ledger.annotate(v, 12 * kSecond);
  CHECK(v.nodes[1].demand_arriving == doctest::Approx(1));
}

TEST_CASE("a commit between other nodes needs no beginning; a failed move leaves no trace") {
  MoveLedger ledger{{}};
  ledger.committed({kPid, {2}, {1}, 1.0, 5}, 10 * kSecond);
  auto v = both(10 * kSecond);
  ledger.annotate(v, 10 * kSecond);
  CHECK(v.nodes[0].demand_arriving == 1);
  CHECK(v.nodes[1].demand_leaving == 1);
  ledger.begun(kNote, 20 * kSecond);
  ledger.failed(kPid, 21 * kSecond);
  v = both(21 * kSecond);
  ledger.annotate(v, 21 * kSecond);
  CHECK(v.nodes[1].demand_arriving == 0);
  CHECK_FALSE(v.processes[0].moving);
  CHECK(ledger.moves(kPid) == 1);
}

TEST_CASE("a move that the ledger does not know (a user's) stays a move") {
  MoveLedger ledger{{}};
  auto v = both(10 * kSecond);
  v.processes[0].moving = true;
  ledger.annotate(v, 10 * kSecond);
  CHECK(v.processes[0].moving);
}

TEST_CASE("refusals back off: longer each time, and are over after a move") {
  MoveLedger ledger{{}};
  std::int64_t now = 10 * kSecond;
  for (std::int64_t expected : {10, 20, 40}) {
    ledger.refused(kPid, "a device is open", {}, now);
    auto v = both(now);
    ledger.annotate(v, now);
    REQUIRE(v.processes[0].refusals.size() == 1);
    CHECK(v.processes[0].refusals[0].until_us == now + expected * kSecond);
    now += expected * kSecond;
    ledger.annotate(v, now);
    CHECK(v.processes[0].refusals.empty());
  }
  for (int i = 0; i < 20; ++i) ledger.refused(kPid, "a device is open", {}, now);
  auto v = both(now);
  ledger.annotate(v, now);
  CHECK(v.processes[0].refusals[0].until_us == now + 600 * kSecond);
  ledger.committed(kNote, now);
  ledger.annotate(v, now);
  CHECK(v.processes[0].refusals.empty());
}

TEST_CASE("a busy target is asked again soon; another target at once") {
  MoveLedger ledger{{}};
  ledger.begun(kNote, 10 * kSecond);
  ledger.busy(kPid, "full", {2}, 10 * kSecond);
  auto v = both(10 * kSecond);
  ledger.annotate(v, 11 * kSecond);
  REQUIRE(v.processes[0].refusals.size() == 1);
  CHECK(v.processes[0].refusals[0].target == NodeId{2});
  CHECK_FALSE(v.processes[0].moving);
  ledger.annotate(v, 12 * kSecond);
  CHECK(v.processes[0].refusals.empty());
}

TEST_CASE("what is over is forgotten, and a move that never ends too") {
  MoveLedger ledger{{}};
  ledger.begun(kNote, 10 * kSecond);
  ledger.tidy(69 * kSecond);
  auto v = both(69 * kSecond);
  ledger.annotate(v, 69 * kSecond);
  CHECK(v.processes[0].moving);
  ledger.tidy(71 * kSecond);
  v = both(71 * kSecond);
  ledger.annotate(v, 71 * kSecond);
  CHECK_FALSE(v.processes[0].moving);
  ledger.committed(kNote, 80 * kSecond);
  ledger.gone(kPid);
  CHECK(ledger.moves(kPid) == 0);
}
