#include "loadlevel/policy/plan.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {
const PolicyConfig kConfig;

// Applies the moves of a plan to the view, as if they were done at once.
void apply(ClusterLoad& v, const Plan& p) {
  for (const auto& m : p.moves) {
    for (auto& n : v.nodes) {
      if (n.id == m.from) n.runnable -= m.demand;
      if (n.id == m.to) n.runnable += m.demand;
    }
    std::erase_if(v.processes, [&](const auto& q) { return q.pid == m.pid; });
  }
  ++v.tick;
}
}  // namespace

TEST_CASE("equal jobs started on node 1 spread as far as it pays, then nothing moves") {
  struct Case {
    const char* name;
    int jobs;
    std::vector<NodeLoad> others;
    int cpus;
    int moved;  // in at most two rounds
  };
  const Case cases[] = {
      {"4 jobs, 2 nodes of one CPU", 4, {node(2, 0)}, 1, 2},
      {"3 jobs, 2 nodes: 2 + 1", 3, {node(2, 0)}, 1, 1},
      {"2 jobs, 2 nodes", 2, {node(2, 0)}, 1, 1},
      {"1 job, 2 nodes", 1, {node(2, 0)}, 1, 0},
      {"2 jobs, other node has one", 2, {node(2, 1)}, 1, 0},
      {"5 jobs, other node has one: 3 + 3", 5, {node(2, 1)}, 1, 2},
      {"2 jobs on 2 CPUs", 2, {node(2, 0)}, 2, 0},
      {"6 jobs on 4 CPUs, 4 free CPUs", 6, {node(2, 0, 4)}, 4, 2},
      {"6 jobs, 3 nodes: 2 + 2 + 2", 6, {node(2, 0), node(3, 0)}, 1, 4},
      {"8 jobs, node with 4 CPUs: 2 + 6 or 1 + 7", 8, {node(2, 0, 4)}, 1, 6},
      {"noise does not move anything", 2, {node(2, 1.4)}, 1, 0},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    ClusterLoad v = view(c.jobs, c.others, c.cpus);
    int moved = 0;
    for (int round = 0; round < 2; ++round) {
      const Plan p = plan(v, kConfig, kNow_us);
      CHECK(p.moves.size() + p.stays.size() == v.processes.size());
      moved += static_cast<int>(p.moves.size());
      apply(v, p);
    }
    CHECK(moved == c.moved);
    for (int round = 0; round < 20; ++round) {
      const Plan p = plan(v, kConfig, kNow_us);
      CHECK(p.moves.empty());
      apply(v, p);
    }
  }
}

TEST_CASE("slow and fast nodes") {
  SUBCASE("a job leaves a slow node for an idle fast one") {
    ClusterLoad v = view(1, {node(2, 0)});
    v.nodes[0].speed_mhz = 1000;
    CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
  }
  SUBCASE("but not for one that is hardly faster") {
    ClusterLoad v = view(1, {node(2, 0)});
    v.nodes[0].speed_mhz = 1900;
    CHECK(plan(v, kConfig, kNow_us).moves.empty());
  }
  SUBCASE("two jobs stay on a fast node rather than one of them on a very slow one") {
    ClusterLoad v = view(2, {node(2, 0)});
    v.nodes[1].speed_mhz = 500;
    CHECK(plan(v, kConfig, kNow_us).moves.empty());
  }
}

TEST_CASE("what a process must be to be moved") {
  ClusterLoad v = view(4, {node(2, 0)});
  ProcessLoad& p = v.processes[0];
  const SsiPid pid = p.pid;
  Verdict expected = Verdict::kNotNow;
  std::string says;
  SUBCASE("enabled") {
    p.enabled = false;
    expected = Verdict::kNotEnabled;
    says = "not enabled";
  }
  SUBCASE("not pinned") {
    p.pinned = true;
    expected = Verdict::kPinned;
    says = "pinned to node 1";
  }
  SUBCASE("not moving") {
    p.moving = true;
    expected = Verdict::kMoving;
    says = "being moved";
  }
  SUBCASE("not a zombie") {
    p.state = 'Z';
    expected = Verdict::kEnded;
    says = "zombie";
  }
  SUBCASE("not just started") {
    p.wanted_s = 0.5;
    expected = Verdict::kTooYoung;
    says = "500 ms so far, less than 1.0 s";
  }
  SUBCASE("not just moved") {
    p.moves = 2;
    p.last_move_us = kNow_us - 3'000'000;
    expected = Verdict::kResident;
    says = "3.0 s ago; after move number 2 it stays for 7.5 s";
  }
  SUBCASE("not idle") {
    p.demand = 0.05;
    expected = Verdict::kIdle;
    says = "only 5% of a CPU";
  }
  SUBCASE("not refused") {
    p.refusals.push_back({{}, "it has a device open (/dev/kvm)", kNow_us + 10'000'000});
    expected = Verdict::kRefused;
    says = "can't be moved: it has a device open (/dev/kvm); tried again in 10.0 s";
  }
  SUBCASE("not refused by the only target") {
    p.refusals.push_back({{2}, "it lacks avx2", kNow_us + 10'000'000});
    expected = Verdict::kRefused;
    says = "node 2 did not take it: it lacks avx2";
  }
  SUBCASE("small enough for the saving") {
    for (auto& q : v.processes) q.rss_bytes = 4000 * kMiB;
    expected = Verdict::kNotPaying;
    says = "costs 40.0 s of standing still for 3.9 GiB";
  }
  SUBCASE("small enough for the target's memory") {
    for (auto& q : v.processes) q.rss_bytes = 5800 * kMiB;
    expected = Verdict::kNoTarget;
    says = "no node has 5.7 GiB of memory";
  }
  const Plan result = plan(v, kConfig, kNow_us);
  for (const auto& m : result.moves) CHECK(m.pid != pid);
  const Evaluation* e = stay_of(result, pid);
  REQUIRE(e);
  CHECK(e->verdict == expected);
  CHECK_MESSAGE(text(e->reasons).find(says) != std::string::npos, text(e->reasons));
}

TEST_CASE("a refusal that has run out counts no more") {
  ClusterLoad v = view(2, {node(2, 0)});
  for (auto& p : v.processes) p.refusals.push_back({{}, "busy", kNow_us - 1});
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
}

TEST_CASE("where nothing goes, and what is said about it") {
  ClusterLoad v = view(4, {node(2, 0)});
  NodeLoad& other = v.nodes[1];
  std::string says;
  SUBCASE("a node that is down") {
    other.up = false;
    says = "node 2 is down";
  }
  SUBCASE("a drained node") {
    other.drained = true;
    says = "node 2 is drained";
  }
  SUBCASE("a node that takes no guests") {
    other.accepting = false;
    says = "node 2 is not accepting guests";
  }
  SUBCASE("a node not heard of") {
    other.taken_us = kNow_us - 9'000'000;
    says = "last heard of 9.0 s ago";
  }
  SUBCASE("no other node") {
    v.nodes.pop_back();
    says = "there is no other node";
  }
  SUBCASE("without quorum") {
    v.quorate = false;
    says = "no quorum";
  }
  SUBCASE("with the balancer off") {
    v.balancing = false;
    says = "off on node 1";
  }
  SUBCASE("own load not known") {
    v.nodes.erase(v.nodes.begin());
    says = "does not know its own load";
  }
  const Plan result = plan(v, kConfig, kNow_us);
  CHECK(result.moves.empty());
  REQUIRE(result.stays.size() == 4);
  for (const auto& e : result.stays) {
    CHECK_MESSAGE(text(e.reasons).find(says) != std::string::npos, text(e.reasons));
  }
}

TEST_CASE("moves on their way count on the target") {
  ClusterLoad v = view(4, {node(2, 0)});
  v.nodes[1].demand_arriving = 2;
  v.nodes[0].demand_leaving = 2;
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
  v = view(40, {node(2, 0)});
  v.nodes[1].moves_arriving = 3;
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);  // moves_per_target is 4
  v = view(40, {node(2, 0)});
  for (int i = 0; i < 3; ++i) v.processes[static_cast<std::size_t>(i)].moving = true;
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);  // moves_per_tick is 4
}

TEST_CASE("several nodes that plan at once do not overfill one that is idle") {
  // Nodes 1..9 with 4 jobs each, node 10 idle: it lacks 3.6 tasks. Without shares it would be sent
  // 18 or more.
  int most = 0;
  int total = 0;
  for (std::uint64_t tick = 1; tick <= 200; ++tick) {
    int sent = 0;
    for (std::uint32_t here = 1; here <= 9; ++here) {
      ClusterLoad v;
      v.here = {here};
      v.tick = tick;
      for (std::uint32_t id = 1; id <= 9; ++id) v.nodes.push_back(node(id, 4));
      v.nodes.push_back(node(10, 0));
      for (int i = 0; i < 4; ++i) v.processes.push_back(job(i, 5, 20 * kMiB, here));
      sent += static_cast<int>(plan(v, kConfig, kNow_us).moves.size());
    }
    most = std::max(most, sent);
    total += sent;
  }
  CHECK(most <= 9);
  CHECK(total / 200.0 == doctest::Approx(3.6).epsilon(0.1));
}

TEST_CASE("the oldest and smallest go first") {
  ClusterLoad v = view(3, {node(2, 0)});
  v.processes[0].wanted_s = 2;
  v.processes[1].wanted_s = 20;
  v.processes[2].wanted_s = 20;
  v.processes[2].rss_bytes = 500 * kMiB;
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 1);
  CHECK(p.moves[0].pid == v.processes[1].pid);
}

TEST_CASE("what has just begun is no reason for an older one to leave") {
  ClusterLoad v = view(2, {node(2, 0)});
  v.processes[0].wanted_s = 30;
  v.processes[1].wanted_s = 0.4;
  v.processes[1].enabled = false;
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
  v.processes[1].wanted_s = 20;  // it lasts: one of them has to go, and only one may
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 1);
  CHECK(p.moves[0].pid == v.processes[0].pid);
}

TEST_CASE("where one always begins when another has ended, there is one") {
  ClusterLoad v = view(2, {node(2, 0)});
  v.processes[0].wanted_s = 30;
  v.processes[1].wanted_s = 0.4;
  v.processes[1].enabled = false;
  v.runnable_past.assign(29, 2);
  CHECK(plan(v, kConfig, kNow_us).moves.empty());  // not for as long as the older one will last
  v.runnable_past.assign(30, 2);
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 1);
  CHECK(p.moves[0].pid == v.processes[0].pid);
  v.runnable_past[20] = 1;  // for a second there was none
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
  v.runnable_past.assign(30, 2);
  v.runnable_past.resize(ClusterLoad::kPastSeconds, 0);  // longer ago than it will last
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
}

TEST_CASE("load that is known only as a sum counts in full") {
  ClusterLoad v = view(1, {node(2, 0)});
  v.nodes[0].runnable = 4;  // three more that are not in the view
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
  v.all_processes = true;  // they have ended
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
}

TEST_CASE("home is preferred a little: between equals, not against the load") {
  ClusterLoad v = view(0, {node(2, 0), node(3, 0)});
  v.nodes[0].runnable = 2;
  v.processes = {job(1, 5, 20 * kMiB, 3), job(2, 5, 20 * kMiB, 3)};
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 1);
  CHECK(p.moves[0].to == NodeId{3});
  CHECK(text(p.moves[0].reasons).find("node 3 is its home") != std::string::npos);

  v.nodes[0].runnable = 1;
  v.processes.pop_back();
  CHECK(plan(v, kConfig, kNow_us).moves.empty());  // alone here, nobody gains by its going home
}

TEST_CASE("memory ushering: before a node runs dry, a process leaves, idle or young as it may be") {
  ClusterLoad v = view(2, {node(2, 1)});
  v.nodes[0].memory_available_bytes = 300 * kMiB;  // of 8 GiB
  v.processes[0].demand = 0;
  v.processes[0].rss_bytes = 2000 * kMiB;
  v.processes[0].wanted_s = 0.1;
  v.processes[1].rss_bytes = 10 * kMiB;
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 1);
  CHECK(p.moves[0].pid == v.processes[0].pid);
  CHECK_MESSAGE(text(p.moves[0].reasons).find("runs out of memory: 300 MiB of 8.0 GiB free") !=
                    std::string::npos,
                text(p.moves[0].reasons));
  SUBCASE("nor when it only will be dry in a few seconds") {
    v.nodes[0].memory_available_bytes = 1000 * kMiB;
    v.nodes[0].memory_trend_bytes_s = -150.0 * kMiB;
    CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
    v.nodes[0].memory_trend_bytes_s = 0;
    CHECK(plan(v, kConfig, kNow_us).moves.empty());
  }
  SUBCASE("but not to a node as dry, or one that shares its memory") {
    v.nodes[1].memory_available_bytes = 300 * kMiB;
    CHECK(plan(v, kConfig, kNow_us).moves.empty());
  }
  SUBCASE("a pinned or refused one stays all the same") {
    v.processes[0].pinned = true;
    v.processes[1].refusals.push_back({{}, "a device", kNow_us + 1});
    CHECK(plan(v, kConfig, kNow_us).moves.empty());
  }
}

TEST_CASE("a drained node sends everything away, even with the balancer off, a few at a time") {
  ClusterLoad v = view(6, {node(2, 3), node(3, 3)});
  v.nodes[0].drained = true;
  v.nodes[0].accepting = false;
  v.balancing = false;
  v.processes[5].pinned = true;
  const Plan p = plan(v, kConfig, kNow_us);
  CHECK(p.moves.size() == 4);
  REQUIRE(stay_of(p, v.processes[5].pid));
  CHECK(stay_of(p, v.processes[5].pid)->verdict == Verdict::kPinned);
  for (const auto& m : p.moves) CHECK(m.reasons.at(0) == "node 1 is drained");
}

TEST_CASE("guests leave a drained node though nobody enabled them; its own processes do not") {
  ClusterLoad v = view(0, {node(2, 0), node(3, 0)});
  v.nodes[0].drained = true;
  v.processes = {job(1), job(1, 0, kMiB, 2), job(2, 0, kMiB, 3)};
  for (auto& p : v.processes) {
    p.enabled = false;
    p.demand = 0;
  }
  const Plan p = plan(v, kConfig, kNow_us);
  REQUIRE(p.moves.size() == 2);
  for (const auto& m : p.moves) CHECK(m.to == m.pid.home);  // nothing speaks for another node
  REQUIRE(p.stays.size() == 1);
  CHECK(p.stays[0].verdict == Verdict::kNotEnabled);
  v.nodes[0].drained = false;
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
}

TEST_CASE("a drained node sends to one that takes no guests if there is no other") {
  ClusterLoad v = view(1, {node(2, 0), node(3, 0)});
  v.nodes[0].drained = true;
  v.nodes[1].accepting = false;
  REQUIRE(plan(v, kConfig, kNow_us).moves.size() == 1);
  CHECK(plan(v, kConfig, kNow_us).moves[0].to == NodeId{3});
  v.nodes[2].drained = true;
  REQUIRE(plan(v, kConfig, kNow_us).moves.size() == 1);
  CHECK(plan(v, kConfig, kNow_us).moves[0].to == NodeId{2});
}

TEST_CASE("as jobs end, what remains is rebalanced if it pays") {
  // 8 jobs as 4 + 4; three end on node 2: one comes over. Then all but one end on node 1: nothing
  // moves.
  ClusterLoad v = view(4, {node(2, 1)});
  for (auto& p : v.processes) p.wanted_s = 20;
  CHECK(plan(v, kConfig, kNow_us).moves.size() == 1);
  v = view(1, {node(2, 1)});
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
  v = view(2, {node(2, 0)});
  for (auto& p : v.processes) p.rss_bytes = 2000 * kMiB;  // 20 s to move, 5 s old
  CHECK(plan(v, kConfig, kNow_us).moves.empty());
}

TEST_CASE("the sentences of a move have the numbers in them") {
  const Plan p = plan(view(4, {node(2, 0)}), kConfig, kNow_us);
  REQUIRE(p.moves.size() == 2);
  CHECK(text(p.moves[0].reasons) ==
        "node 1 has 4.0 runnable tasks on 1 CPU, node 2 has 0.0 runnable tasks on 1 CPU; "
        "a second of its work takes 4.0 s here and would take 1.0 s there; "
        "the move saves 5.9 s of waiting per second, for 5.0 s (it has wanted a CPU for 5.0 s); it "
        "costs "
        "250 ms of standing still for 20 MiB; ");
  const Evaluation* e = stay_of(p, p.stays[0].pid);
  CHECK(e->verdict == Verdict::kNoGain);
  CHECK(e->best_target == NodeId{2});
  CHECK(text(e->reasons).find("not 1.15 times faster") != std::string::npos);
}
