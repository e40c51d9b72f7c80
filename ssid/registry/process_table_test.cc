#include "ssid/registry/process_table.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

const NodeId n1{1}, n2{2}, n3{3};
const SsiPid kProcess{n1, 70041};
const View kAll{1, {n1, n2, n3}, true};
const View kPair{2, {n1, n3}, true};
const View kAlone{3, {n1}, false};

group::Commit commit(NodeId from, NodeId to, std::uint64_t epoch, std::uint64_t start = 5) {
  group::Commit c;
  c.process = kProcess;
  c.from = from;
  c.to = to;
  c.epoch = Epoch{epoch};
  c.start_time = start;
  c.comm = "xz";
  return c;
}

group::Retire retire(std::uint64_t epoch, std::uint64_t start = 5) {
  group::Retire r;
  r.process = kProcess;
  r.epoch = Epoch{epoch};
  r.start_time = start;
  r.wait_status = 256;
  r.node = n2;
  return r;
}

ProcessTable at_node_2() {
  ProcessTable table;
  REQUIRE(table.apply(commit(n1, n2, 1), kAll) == Applied::kAccepted);
  return table;
}

}  // namespace

TEST_CASE("moves count only one after the other") {
  ProcessTable table;
  CHECK(table.apply(commit(n1, n2, 2), kAll) == Applied::kStale);  // the first has epoch 1
  CHECK(table.apply(commit(n2, n3, 1), kAll) == Applied::kStale);  // and starts at home
  CHECK(table.apply(commit(n1, n2, 1), kAll) == Applied::kAccepted);
  CHECK(table.apply(commit(n1, n2, 1), kAll) == Applied::kStale);
  CHECK(table.apply(commit(n1, n3, 2), kAll) == Applied::kStale);  // it is not at node 1
  CHECK(table.apply(commit(n2, n3, 3), kAll) == Applied::kStale);
  CHECK(table.apply(commit(n2, n3, 2, 6), kAll) == Applied::kStale);  // another process
  CHECK(table.apply(commit(n2, n3, 2), kAll) == Applied::kAccepted);
  CHECK(table.apply(commit(n3, n1, 3), kAll) == Applied::kAccepted);
  const ProcessRecord* entry = table.find(kProcess);
  REQUIRE(entry != nullptr);
  CHECK(entry->where == n1);
  CHECK(entry->epoch == Epoch{3});
  CHECK(entry->nmigs == 3);
}

TEST_CASE("a tree moves as one, or not at all") {
  const SsiPid kChild{n1, 70042}, kOther{n1, 70043};
  const auto member = [](std::int32_t pid, std::uint64_t start) {
    return group::Member{.pid = pid, .start_time = start, .comm = "cc1"};
  };
  ProcessTable table;
  auto first = commit(n1, n2, 1);
  first.members = {member(kChild.pid, 6)};
  REQUIRE(table.apply(first, kAll) == Applied::kAccepted);
  REQUIRE(table.find(kChild) != nullptr);
  CHECK(table.find(kChild)->unit == kProcess.pid);
  CHECK(table.find(kChild)->where == n2);

  auto second = commit(n2, n3, 2);
  SUBCASE("its members have its epoch; one that is new to the table was born where it was") {
    second.members = {member(kChild.pid, 6), member(kOther.pid, 9)};
    REQUIRE(table.apply(second, kAll) == Applied::kAccepted);
    CHECK(table.find(kChild)->epoch == Epoch{2});
    CHECK(table.find(kOther)->where == n3);
    CHECK(table.find(kProcess)->unit == 0);
  }
  SUBCASE("another process with the PID of one of them: nothing moves") {
    second.members = {member(kChild.pid, 7)};
    CHECK(table.apply(second, kAll) == Applied::kStale);
    CHECK(table.find(kProcess)->where == n2);
  }
  SUBCASE("one of them has ended: nothing moves with it") {
    auto end = retire(1, 6);
    end.process = kChild;
    REQUIRE(table.apply(end, n2, kAll) == Applied::kAccepted);
    second.members = {member(kChild.pid, 6)};
    CHECK(table.apply(second, kAll) == Applied::kStale);
    second.members = {};
    CHECK(table.apply(second, kAll) == Applied::kAccepted);
  }
  SUBCASE("one that moves alone is in no tree") {
    auto alone = commit(n1, n2, 1, 9);
    alone.process = kOther;
    REQUIRE(table.apply(alone, kAll) == Applied::kAccepted);
    second.members = {member(kOther.pid, 9)};
    CHECK(table.apply(second, kAll) == Applied::kStale);
  }
  SUBCASE("the first process outlives its tree, and the tree it") {
    REQUIRE(table.apply(retire(1), n2, kAll) == Applied::kAccepted);
    CHECK(table.find(kProcess) == nullptr);
    CHECK(table.find(kChild) != nullptr);
  }
}

TEST_CASE("nothing changes hands without quorum or to a node that is away") {
  ProcessTable table;
  CHECK(table.apply(commit(n1, n2, 1), kAlone) == Applied::kNoQuorum);
  CHECK(table.apply(commit(n1, n2, 1), kPair) == Applied::kUnknownTarget);
  table = at_node_2();
  CHECK(table.apply(commit(n2, n3, 2), kPair) == Applied::kUnknownTarget);
  CHECK(table.apply(retire(1), n2, kAlone) == Applied::kNoQuorum);
  CHECK(table.find(kProcess)->epoch == Epoch{1});
}

TEST_CASE("an ended process leaves a tombstone, and late messages stay stale") {
  ProcessTable table = at_node_2();
  CHECK(table.apply(retire(2), n2, kAll) == Applied::kStale);
  CHECK(table.apply(retire(1, 6), n2, kAll) == Applied::kStale);
  CHECK(table.apply(retire(1), n2, kAll) == Applied::kAccepted);
  CHECK(table.apply(retire(1), n2, kAll) == Applied::kStale);
  CHECK(table.apply(commit(n2, n3, 2), kAll) == Applied::kStale);
  CHECK(table.apply(commit(n1, n2, 1), kAll) == Applied::kStale);
  const Tombstone* dead = table.find_tombstone(kProcess);
  REQUIRE(dead != nullptr);
  CHECK(dead->wait_status == 256);
  // The PID is in use again: another start time, another process.
  CHECK(table.apply(commit(n1, n2, 1, 9), kAll) == Applied::kAccepted);
  CHECK(table.apply(retire(1, 5), n2, kAll) == Applied::kStale);
}

TEST_CASE("only node, home, or anybody when it is lost may retire") {
  ProcessTable table = at_node_2();
  CHECK(table.judge(retire(1), n3, kAll) == Applied::kStale);
  CHECK(table.judge(retire(1), n1, kAll) == Applied::kAccepted);
  CHECK(table.judge(retire(1), n2, kAll) == Applied::kAccepted);
  CHECK(table.judge(retire(1), n3, kPair) == Applied::kAccepted);
}

TEST_CASE("tombstones are bounded, the oldest go first") {
  ProcessTable table({.tombstones_max = 10, .entries_max = 100});
  for (int i = 1; i <= 25; ++i) {
    auto c = commit(n1, n2, 1);
    c.process.pid = 65536 + i;
    REQUIRE(table.apply(c, kAll) == Applied::kAccepted);
    auto r = retire(1);
    r.process = c.process;
    REQUIRE(table.apply(r, n2, kAll) == Applied::kAccepted);
  }
  CHECK(table.tombstones().size() == 10);
  CHECK(table.find_tombstone({n1, 65536 + 15}) == nullptr);
  CHECK(table.find_tombstone({n1, 65536 + 16}) != nullptr);
}

TEST_CASE("a node that leaves is waited for, then its processes are given up") {
  ProcessTable table = at_node_2();
  table.on_view(kAll, 1000, 5000);
  CHECK(table.find(kProcess)->state == ProcessState::kRunning);
  CHECK(!table.next_deadline_ms());
  table.on_view(kPair, 2000, 5000);
  CHECK(table.find(kProcess)->state == ProcessState::kLost);
  CHECK(table.expired(6999).empty());
  table.on_view(kAlone, 3000, 5000);  // a further view does not prolong it
  CHECK(table.next_deadline_ms() == 7000);
  REQUIRE(table.expired(7000).size() == 1);
  CHECK(table.expired(7000)[0].process == kProcess);
  table.on_view(kAll, 7500, 5000);
  CHECK(table.find(kProcess)->state == ProcessState::kRunning);
  CHECK(table.expired(9999).empty());
}

TEST_CASE("a node that comes back from another boot has lost its guests, at once") {
  ProcessTable table = at_node_2();
  table.apply(group::Boots{{{n1, "a"}, {n2, "b"}, {n3, "c"}}});
  CHECK(!table.find(kProcess)->gone);
  table.apply(group::Boots{{{n2, "b"}}});
  CHECK(!table.find(kProcess)->gone);
  table.apply(group::Boots{{{n3, "c2"}}});
  CHECK(!table.find(kProcess)->gone);
  table.apply(group::Boots{{{n2, "b2"}}});
  CHECK(table.find(kProcess)->gone);
  table.on_view(kAll, 100, 5000);
  CHECK(table.expired(100).size() == 1);
  CHECK(table.apply(commit(n2, n3, 2), kAll) == Applied::kStale);
  CHECK(table.apply(retire(1), n3, kAll) == Applied::kAccepted);
}

TEST_CASE("a claim counts from the node that runs it, when nothing newer is known") {
  const auto claim = [](NodeId where, std::uint64_t epoch, std::uint64_t start = 5) {
    group::Claim c;
    c.entry.process = kProcess;
    c.entry.where = where;
    c.entry.epoch = Epoch{epoch};
    c.entry.start_time = start;
    return c;
  };
  ProcessTable table;
  CHECK(table.apply(claim(n2, 4), n3, kAll) == Applied::kStale);
  CHECK(table.apply(claim(n2, 4), n2, kAlone) == Applied::kNoQuorum);
  CHECK(table.apply(claim(n2, 4), n2, kAll) == Applied::kAccepted);
  CHECK(table.apply(claim(n3, 4), n3, kAll) == Applied::kStale);
  CHECK(table.apply(claim(n3, 5), n3, kAll) == Applied::kAccepted);
  CHECK(table.apply(retire(5), n3, kAll) == Applied::kAccepted);
  CHECK(table.apply(claim(n3, 6), n3, kAll) == Applied::kStale);
  CHECK(table.apply(claim(n3, 1, 6), n3, kAll) == Applied::kAccepted);
}

TEST_CASE("what a guest starts is claimed where its unit is, at the unit's epoch") {
  ProcessTable table = at_node_2();
  const auto born = [](NodeId where, std::uint64_t epoch, pid_t pid) {
    return group::Claim{.entry = {.process = {n1, pid},
                                  .where = where,
                                  .epoch = Epoch{epoch},
                                  .start_time = 9,
                                  .unit = kProcess.pid}};
  };
  CHECK(table.apply(born(n2, 1, 130000), n2, kAll) == Applied::kAccepted);
  CHECK(table.apply(born(n2, 2, 130001), n2, kAll) == Applied::kStale);
  CHECK(table.apply(born(n3, 1, 130001), n3, kAll) == Applied::kStale);
  // It moves on with it, or the unit does not.
  group::Commit on = commit(n2, n3, 2);
  on.members.push_back({.pid = 130000, .start_time = 9});
  CHECK(table.apply(on, kAll) == Applied::kAccepted);
  CHECK(table.find({n1, 130000})->where == n3);
  CHECK(table.apply(born(n2, 1, 130001), n2, kAll) == Applied::kStale);
}

TEST_CASE("a node is drained with quorum only, whether it is up or not, until it is opened again") {
  ProcessTable table;
  const group::SetDrained close{.node = n2, .drained = true};
  const group::SetDrained open{.node = n2, .drained = false};
  CHECK(table.apply(close, kAlone) == Applied::kNoQuorum);
  CHECK(table.drained().empty());
  CHECK(table.apply(close, kPair) == Applied::kAccepted);
  CHECK(table.apply(close, kPair) == Applied::kAccepted);
  CHECK(table.drained() == std::set<NodeId>{n2});
  CHECK(!table.same_as(ProcessTable{}));
  CHECK(table.apply(open, kAlone) == Applied::kNoQuorum);
  CHECK(table.apply(open, kAll) == Applied::kAccepted);
  CHECK(table.same_as(ProcessTable{}));
}

TEST_CASE("restored, it is the same") {
  ProcessTable table = at_node_2();
  table.apply(group::Boots{{{n1, "a"}, {n2, "b"}}});
  auto other = commit(n1, n3, 1);
  other.process.pid = 70050;
  table.apply(other, kAll);
  table.apply(retire(1), n2, kAll);
  table.apply(group::SetDrained{.node = n3}, kAll);
  std::vector<TableEntry> entries;
  for (const auto& [process, entry] : table.entries()) entries.push_back(entry);
  ProcessTable copy;
  CHECK(!copy.same_as(table));
  copy.restore(entries, {table.tombstones().begin(), table.tombstones().end()},
               {{n1, "a"}, {n2, "b"}}, {n3});
  CHECK(copy.same_as(table));
  CHECK(copy.to_string() == table.to_string());
}
