#include "ssid/registry/table_replica.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "ssid/registry/replica_world.h"

using namespace ssi;

namespace {

const NodeId n1{1}, n2{2}, n3{3};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

void establish(ReplicaWorld& world) {
  REQUIRE(world.network().run_until([&] { return world.all_established(); }, 10'000));
}

bool runs_at(ReplicaWorld& world, SsiPid process, NodeId node, std::uint64_t ms = 5'000) {
  return world.network().run_until([&] { return world.running_at(process) == node; }, ms);
}

void play(std::uint32_t nodes, std::uint64_t seeds, std::uint64_t ms, bool memory_loss_anywhere) {
  ReplicaWorld::Counts total;
  const std::uint64_t first = from_environment("SSID_SEED", 1);
  const std::uint64_t count = std::getenv("SSID_SEED") ? 1 : from_environment("SSID_SEEDS", seeds);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    ReplicaWorld world({.nodes = nodes, .seed = seed});
    world.chaos(ms, memory_loss_anywhere);
    if (world.broken().empty()) world.settle(60'000);
    if (!world.broken().empty()) {
      FAIL_CHECK("again: SSID_SEED=" << seed << " with " << nodes << " nodes; " << world.broken());
      return;
    }
    const auto& c = world.counts();
    total.moves += c.moves;
    total.refused += c.refused;
    total.unsure += c.unsure;
    total.ended += c.ended;
    total.lost += c.lost;
    total.claimed += c.claimed;
    total.drained += c.drained;
    total.views += c.views;
    total.faults += c.faults;
  }
  MESSAGE(nodes << " nodes, " << count << " seeds: " << total.moves << " moves, " << total.refused
                << " refused (" << total.unsure << " for the want of quorum), " << total.ended
                << " ends told (" << total.lost << " of lost ones), " << total.claimed
                << " claims told, " << total.drained << " drains told, " << total.views
                << " views, " << total.faults << " faults");
  CHECK(total.moves > 0);
}

}  // namespace

TEST_CASE("three nodes: a process moves round, and everybody knows") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  CHECK(runs_at(world, process, n2));
  REQUIRE(world.begin_move(process, n3));
  CHECK(runs_at(world, process, n3));
  REQUIRE(world.begin_move(process, n1));
  CHECK(runs_at(world, process, n1));
  world.settle(5'000);
  CHECK(world.broken() == "");
  CHECK(world.replica(n2)->table().find(process)->epoch == Epoch{3});
  CHECK(world.replica(n2)->table().find(process)->nmigs == 3);
}

TEST_CASE("a minority moves nothing") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  world.network().partition({{n1}, {n2, n3}});
  world.network().run_for_ms(2'000);
  CHECK_FALSE(world.begin_move(process, n2));
  CHECK(world.running_at(process) == n1);
  world.settle(10'000);
  CHECK(world.broken() == "");
}

TEST_CASE("the cut comes while a commit is on its way: one side has the process, never both") {
  int at_source = 0;
  int at_target = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    ReplicaWorld world({.seed = seed, .processes = 0});
    establish(world);
    const SsiPid process = world.add_process(n1);
    REQUIRE(world.begin_move(process, n2));
    world.network().run_for_ms(seed % 8);
    world.network().partition({{n1}, {n2, n3}});
    world.network().run_for_ms(1'500);
    world.settle(30'000);
    CAPTURE(seed);
    REQUIRE(world.broken() == "");
    (world.running_at(process) == n1 ? at_source : at_target) += 1;
  }
  CHECK(at_source > 0);
  CHECK(at_target > 0);
}

TEST_CASE("a guest's node loses power: after the grace the process is given up, everywhere") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  REQUIRE(runs_at(world, process, n2));
  world.power_off(n2);
  world.network().run_for_ms(2'000);
  CHECK(world.replica(n1)->table().find(process)->state == ProcessState::kLost);
  world.network().run_for_ms(4'000);
  CHECK(world.replica(n1)->table().find(process) == nullptr);
  const Tombstone* dead = world.replica(n1)->table().find_tombstone(process);
  REQUIRE(dead != nullptr);
  CHECK(dead->wait_status == 9);
  CHECK(dead->reason == "node 2 went down and took it along");
  world.settle(10'000);
  CHECK(world.broken() == "");
}

TEST_CASE("a guest's node reboots before the grace is over: given up at once") {
  ReplicaWorld world({.grace_ms = 1'000'000, .processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  REQUIRE(runs_at(world, process, n2));
  world.power_off(n2);
  world.network().run_for_ms(2'000);
  CHECK(world.replica(n1)->table().find(process) != nullptr);
  world.power_on(n2);
  world.network().run_for_ms(5'000);
  CHECK(world.replica(n1)->table().find(process) == nullptr);
  CHECK(world.replica(n2)->table().find_tombstone(process) != nullptr);
}

TEST_CASE("two nodes: alone nothing is decided; a reboot of the other one decides it") {
  ReplicaWorld world({.nodes = 2, .grace_ms = 1'000, .processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  REQUIRE(runs_at(world, process, n2));
  world.power_off(n2);
  world.network().run_for_ms(20'000);
  CHECK(world.replica(n1)->table().find(process)->state == ProcessState::kLost);
  world.power_on(n2);
  world.network().run_for_ms(5'000);
  CHECK(world.replica(n1)->table().find(process) == nullptr);
}

TEST_CASE("ssid restarts on both sides of a move: the guest runs on and the table is whole") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  REQUIRE(runs_at(world, process, n2));
  for (const NodeId node : {n1, n2, n3}) world.kill_ssid(node);
  world.network().run_for_ms(1'000);
  for (const NodeId node : {n1, n2, n3}) world.start_ssid(node);
  establish(world);
  world.settle(5'000);
  CHECK(world.broken() == "");
  CHECK(world.replica(n3)->table().find(process)->where == n2);
  CHECK(world.running_at(process) == n2);
}

TEST_CASE("a drained node is drained for all, over restarts of every ssid and its own reboot") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  const auto drained_for = [&](NodeId node) {
    return world.replica(node)->table().drained().contains(n2);
  };
  REQUIRE(world.set_drained(n1, n2, true));
  REQUIRE(world.network().run_until([&] { return drained_for(n3) && drained_for(n2); }, 5'000));
  for (const NodeId node : {n1, n2, n3}) world.kill_ssid(node);
  world.network().run_for_ms(1'000);
  for (const NodeId node : {n1, n2, n3}) world.start_ssid(node);
  establish(world);
  CHECK((drained_for(n1) && drained_for(n2) && drained_for(n3)));
  world.power_off(n2);
  world.network().run_for_ms(2'000);
  world.power_on(n2);
  establish(world);
  CHECK(drained_for(n2));
  REQUIRE(world.set_drained(n2, n2, false));
  REQUIRE(world.network().run_until([&] { return !drained_for(n1) && !drained_for(n3); }, 5'000));
  world.settle(5'000);
  CHECK(world.broken() == "");
}

TEST_CASE("a minority drains nothing, now or when the cut is mended") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  world.network().partition({{n1}, {n2, n3}});
  REQUIRE(world.set_drained(n1, n2, true));  // it does not know of the cut yet
  world.network().run_for_ms(2'000);
  CHECK_FALSE(world.set_drained(n1, n2, true));
  CHECK(world.replica(n1)->table().drained().empty());
  world.settle(10'000);
  CHECK(world.broken() == "");
  CHECK(world.replica(n1)->table().drained().empty());
}

TEST_CASE("a guest ends in a cut-off minority: told when the cut is mended, with its status") {
  ReplicaWorld world({.grace_ms = 60'000, .processes = 0});
  establish(world);
  const SsiPid process = world.add_process(n1);
  REQUIRE(world.begin_move(process, n2));
  REQUIRE(runs_at(world, process, n2));
  world.network().partition({{n1, n3}, {n2}});
  world.network().run_for_ms(2'000);
  world.end_process(process, 7 << 8);
  world.network().run_for_ms(2'000);
  CHECK(world.replica(n1)->table().find(process) != nullptr);
  world.settle(10'000);
  CHECK(world.broken() == "");
  REQUIRE(world.replica(n1)->table().find_tombstone(process) != nullptr);
  CHECK(world.replica(n1)->table().find_tombstone(process)->wait_status == 7 << 8);
}

TEST_CASE("without quorum the end of a guest is still known to those who hear its node") {
  TableReplica replica({.self = n1, .boot_id = "a", .nodes = 1});
  const auto deliver_all = [&](TableReplica::Effects effects) {
    std::vector<TableReplica::Event> events;
    while (!effects.send.empty()) {
      const auto sent = std::move(effects.send);
      effects.send.clear();
      for (const auto& message : sent) {
        auto more = replica.on_message(n1, message, 0);
        effects.send.insert(effects.send.end(), more.send.begin(), more.send.end());
        events.insert(events.end(), more.events.begin(), more.events.end());
      }
    }
    return events;
  };
  deliver_all(replica.on_view({1, {n1}, true}, 0));
  REQUIRE(replica.established());
  TableReplica::Effects effects;
  group::Claim claim;
  claim.entry.process = {n1, 65537};
  claim.entry.where = n1;
  claim.entry.epoch = Epoch{2};
  claim.entry.start_time = 3;
  replica.propose(claim, effects);
  deliver_all(std::move(effects));
  REQUIRE(replica.table().find({n1, 65537}) != nullptr);

  replica.set_nodes(3);  // now it is alone of three
  deliver_all(replica.on_view({2, {n1}, false}, 0));
  CHECK(!replica.established());
  effects = {};
  group::Retire retire;
  retire.process = {n1, 65537};
  retire.epoch = Epoch{2};
  retire.start_time = 3;
  retire.node = n1;
  retire.wait_status = 256;
  replica.propose(retire, effects);
  const auto events = deliver_all(std::move(effects));
  REQUIRE(events.size() == 1);
  CHECK(std::get<TableReplica::EndedUnconfirmed>(events[0]).retire.wait_status == 256);
  CHECK(replica.table().find({n1, 65537}) != nullptr);

  replica.set_nodes(1);  // quorate again: the same Retire is sent again by itself
  const auto later = deliver_all(replica.on_view({3, {n1}, true}, 0));
  CHECK(replica.table().find({n1, 65537}) == nullptr);
  CHECK(std::any_of(later.begin(), later.end(), [](const auto& event) {
    return std::holds_alternative<TableReplica::Ended>(event);
  }));
}

TEST_CASE("what is saved is restored; damaged files and other boots are not") {
  ReplicaWorld world({.seed = 3, .processes = 4});
  world.chaos(8'000, false);
  world.settle(60'000);
  const auto saved = world.replica(n1)->save();
  TableReplica copy({.self = n1, .boot_id = "boot-1", .nodes = 3});
  REQUIRE(copy.restore(saved).ok());
  const bool same_boot = copy.committed() == world.replica(n1)->committed();
  if (same_boot) CHECK(copy.table().same_as(world.replica(n1)->table()));
  TableReplica other({.self = n1, .boot_id = "another", .nodes = 3});
  REQUIRE(other.restore(saved).ok());
  CHECK(other.committed() == 0);
  for (std::size_t n = 1; n < saved.size(); n += 7) {
    TableReplica damaged({.self = n1, .boot_id = "boot-1", .nodes = 3});
    CHECK(!damaged.restore(std::span(saved).first(n)).ok());
  }
}

TEST_CASE("a large table reaches a node that joins") {
  ReplicaWorld world({.processes = 0});
  establish(world);
  std::vector<SsiPid> all;
  for (int i = 0; i < 1200; ++i) all.push_back(world.add_process(n1));
  for (const SsiPid process : all) {
    world.begin_move(process, n2);
    world.network().run_for_ms(process.pid % 2);
  }
  world.network().run_for_ms(10'000);
  CHECK(world.replica(n1)->table().entries().size() == 1200);
  world.power_off(n3);
  world.network().run_for_ms(2'000);
  world.power_on(n3);
  world.network().run_for_ms(10'000);
  REQUIRE(world.all_established());
  CHECK(world.replica(n3)->table().same_as(world.replica(n1)->table()));
}

TEST_CASE("cuts right into many moves: nothing runs twice, all agree at the end") {
  const std::uint64_t first = from_environment("SSID_SEED", 1);
  const std::uint64_t count = std::getenv("SSID_SEED") ? 1 : from_environment("SSID_SEEDS", 10);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    for (const std::uint32_t nodes : {3u, 5u}) {
      ReplicaWorld world({.nodes = nodes, .seed = seed, .grace_ms = 60'000, .lost_percent = 20});
      world.cuts_into_moves(10);
      if (world.broken().empty()) world.settle(60'000);
      if (!world.broken().empty()) {
        FAIL("again: SSID_SEED=" << seed << " with " << nodes << " nodes; " << world.broken());
      }
    }
  }
}

TEST_CASE("chaos on 3 nodes: nothing runs twice, all agree at the end") {
  play(3, 15, 20'000, false);
}
TEST_CASE("chaos on 5 nodes: nothing runs twice, all agree at the end") {
  play(5, 6, 20'000, false);
}
TEST_CASE("chaos on 2 nodes: nothing runs twice, all agree at the end") {
  play(2, 5, 20'000, false);
}
TEST_CASE("chaos with power cuts of many nodes at once: all agree at the end") {
  play(4, 5, 20'000, true);
}
