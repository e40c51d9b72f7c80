#include "loadlevel/policy/drain_progress.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {

constexpr std::int64_t kSecond_us = 1'000'000;

// Node 1, drained, with three guests of node 2.
struct Drain {
  ClusterLoad view = test::view(0, {node(2, 0)});
  DrainProgress progress;
  std::int64_t now_us = kNow_us;

  Drain() {
    view.nodes[0].drained = true;
    for (int i = 1; i <= 3; ++i) view.processes.push_back(job(i, 0, kMiB, 2));
    for (auto& p : view.processes) p.enabled = false;
    progress.begin(now_us);
  }
  void round(int rounds = 1) {
    for (int i = 0; i < rounds; ++i) {
      now_us += kSecond_us;
      ++view.tick;
      view.nodes[1].taken_us = now_us;
      progress.planned(view, plan(view, {}, now_us), now_us);
    }
  }
  void leave(std::size_t index) {
    progress.left({view.processes[index].pid, {1}, {2}, 41'000, kMiB}, now_us);
    view.processes.erase(view.processes.begin() + static_cast<std::ptrdiff_t>(index));
  }
};

}  // namespace

TEST_CASE("a drain is settled when everything has left, and not before it has looked twice") {
  Drain d;
  CHECK_FALSE(d.progress.settled());
  d.round();
  CHECK(d.progress.to_go() == 3);
  CHECK(d.progress.seen(d.view.processes[0].pid));
  CHECK_FALSE(d.progress.seen({{3}, 9}));  // it has just arrived
  d.leave(0);
  d.leave(0);
  d.leave(0);
  CHECK(d.progress.left_since(d.progress.first()).size() == 3);
  CHECK(d.progress.left_since(d.progress.first() + 2).size() == 1);
  CHECK_FALSE(d.progress.settled());
  d.round();
  CHECK(d.progress.settled());
  CHECK(d.progress.staying().empty());
  Drain empty;
  empty.view.processes.clear();
  empty.round();
  CHECK_FALSE(empty.progress.settled());
  empty.progress.planned(empty.view, {}, empty.now_us);  // again on the same measurement
  CHECK_FALSE(empty.progress.settled());
  empty.round();
  CHECK(empty.progress.settled());
}

TEST_CASE("what can't move at all stays, with the words of the refusal") {
  Drain d;
  d.view.processes[0].refusals.push_back({{}, "a device is open", kNow_us + 100 * kSecond_us});
  d.view.processes[1].pinned = true;
  d.round(2);
  CHECK(d.progress.to_go() == 1);
  CHECK_FALSE(d.progress.settled());
  d.leave(2);
  d.round();
  CHECK(d.progress.settled());
  REQUIRE(d.progress.staying().size() == 2);
  CHECK(d.progress.staying()[0].reason == "a device is open");
  CHECK(d.progress.staying()[1].reason == "it is pinned to node 1");
}

TEST_CASE("what finds no node stays after ten seconds in which nothing left") {
  Drain d;
  d.view.nodes[1].drained = true;
  d.round(9);
  CHECK(d.progress.to_go() == 3);
  d.leave(0);
  d.round(9);
  CHECK_FALSE(d.progress.settled());
  d.round();
  CHECK(d.progress.settled());
  REQUIRE(d.progress.staying().size() == 2);
  CHECK(d.progress.staying()[0].reason == "node 2 is drained");
}

TEST_CASE("a drain is not settled while a move is not over, though its process is in no view") {
  Drain d;
  d.view.processes.resize(1);
  const SsiPid last = d.view.processes[0].pid;
  d.progress.begun(last);
  d.view.processes.clear();
  d.round(60);
  CHECK(d.progress.to_go() == 1);
  CHECK_FALSE(d.progress.settled());
  d.progress.left({last, {1}, {2}, 0, 0}, d.now_us);
  d.round();
  CHECK(d.progress.settled());
}

TEST_CASE("a move under way is waited for, but not one that fails again and again") {
  Drain d;
  d.view.processes.resize(1);
  d.view.processes[0].moving = true;
  d.round(60);
  CHECK(d.progress.to_go() == 1);
  for (int i = 0; i < 3; ++i) d.progress.failed(d.view.processes[0].pid, "dump: no such thing");
  d.round();
  CHECK(d.progress.settled());
  REQUIRE(d.progress.staying().size() == 1);
  CHECK(d.progress.staying()[0].reason == "dump: no such thing");
}

TEST_CASE("asked for once more, a drain reports from there on") {
  Drain d;
  d.round();
  d.leave(0);
  d.progress.begin(d.now_us);
  CHECK(d.progress.first() == d.progress.next());
  CHECK(d.progress.left_since(0).size() == 1);  // whoever watched the first one sees it
  d.leave(0);
  CHECK(d.progress.left_since(d.progress.first()).size() == 1);
  d.progress.end();
  CHECK_FALSE(d.progress.active());
  d.progress.left({{{2}, 7}, {1}, {2}, 0, 0}, d.now_us);
  CHECK(d.progress.next() == 2);
  CHECK(d.progress.left_since(0).empty());
}

TEST_CASE("processes of the node itself do not count unless they are enabled") {
  Drain d;
  d.view.processes = {job(1), job(2)};
  d.view.processes[1].enabled = false;
  d.round();
  CHECK(d.progress.to_go() == 1);
}
