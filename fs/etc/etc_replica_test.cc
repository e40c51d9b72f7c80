#include "fs/etc/etc_replica.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "fs/etc/etc_world.h"

using namespace ssi;
using etc::Kind;

namespace {

const NodeId n1{1}, n2{2}, n3{3};

etc::Change put(const std::string& name, const std::string& contents,
                std::uint64_t expects = etc::kAnyVersion) {
  etc::Change change;
  change.name = name;
  change.contents = contents;
  change.expects = expects;
  return change;
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

void establish(EtcWorld& world) {
  REQUIRE(world.network().run_until([&] { return world.all_established(); }, 10'000));
}

EtcOutcome write(EtcWorld& world, NodeId node, const etc::Change& change) {
  world.propose(node, change);
  REQUIRE(world.network().run_until([&] { return world.decided(node).has_value(); }, 10'000));
  return *world.decided(node);
}

std::string read(EtcWorld& world, NodeId node, const std::string& name) {
  const etc::File* file = world.replica(node)->files().find(name);
  return file != nullptr ? file->contents : "(none)";
}

void play(std::uint32_t nodes, std::uint64_t seeds) {
  EtcWorld::Counts total;
  const std::uint64_t first = from_environment("SSID_SEED", 1);
  const std::uint64_t count = std::getenv("SSID_SEED") ? 1 : from_environment("SSID_SEEDS", seeds);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    EtcWorld world({.nodes = nodes, .seed = seed});
    world.chaos(30'000);
    if (world.broken().empty()) world.settle(60'000);
    if (!world.broken().empty()) {
      FAIL_CHECK("again: SSID_SEED=" << seed << " with " << nodes << " nodes; " << world.broken());
      return;
    }
    total.done += world.counts().done;
    total.refused += world.counts().refused;
    total.unsure += world.counts().unsure;
    total.unheard += world.counts().unheard;
    total.views += world.counts().views;
    total.faults += world.counts().faults;
  }
  MESSAGE(nodes << " nodes, " << count << " seeds: " << total.done << " writes done, "
                << total.refused << " refused, " << total.unsure << " unsure, " << total.unheard
                << " whose writer died, " << total.views << " views, " << total.faults
                << " faults");
  CHECK(total.done > 0);
  CHECK(total.refused > 0);
}

}  // namespace

TEST_CASE("shared files: what changes do") {
  SharedFiles files;
  std::uint64_t version = 0;
  const auto change = [&](const etc::Change& c) {
    const EtcOutcome outcome = files.judge(c);
    if (outcome == EtcOutcome::kDone) files.apply(c, ++version);
    return outcome;
  };
  CHECK(change(put("a", "1\n", etc::kNoFile)) == EtcOutcome::kDone);
  CHECK(change(put("a", "2\n", etc::kNoFile)) == EtcOutcome::kChanged);
  CHECK(change(put("a", "3\n", 1)) == EtcOutcome::kDone);
  CHECK(files.find("a")->version == 2);
  auto more = put("a", "4\n");
  more.kind = Kind::kAppend;
  more.mode = 0600;  // of a new file only
  CHECK(change(more) == EtcOutcome::kDone);
  CHECK(files.find("a")->contents == "3\n4\n");
  CHECK(files.find("a")->mode == 0644);

  auto mode = put("a", "");
  mode.kind = Kind::kAttributes;
  mode.mode = 0640;
  CHECK(change(mode) == EtcOutcome::kDone);
  CHECK(files.find("a")->contents == "3\n4\n");
  CHECK(files.find("a")->mode == 0640);
  CHECK(files.find("a")->version == 3);  // who changes the contents is not in the way
  mode.name = "b";
  CHECK(change(mode) == EtcOutcome::kNoFile);

  etc::Change rename{.kind = Kind::kRename, .name = "a", .to = "b", .contents = ""};
  rename.expects = etc::kNoFile;
  CHECK(change(put("b", "old")) == EtcOutcome::kDone);
  CHECK(change(rename) == EtcOutcome::kChanged);
  rename.expects = etc::kAnyVersion;
  CHECK(change(rename) == EtcOutcome::kDone);
  CHECK(files.find("b")->contents == "3\n4\n");
  CHECK(change(rename) == EtcOutcome::kNoFile);
  rename.name = "b";  // onto itself
  CHECK(change(rename) == EtcOutcome::kDone);
  CHECK(files.find("b")->contents == "3\n4\n");

  etc::Change remove{.kind = Kind::kRemove, .name = "b", .to = "", .contents = ""};
  CHECK(change(remove) == EtcOutcome::kDone);
  CHECK(files.all().empty());
  CHECK(change(remove) == EtcOutcome::kNoFile);
}

TEST_CASE("shared files: one file and all together have limits") {
  SharedFiles files;
  const std::string full(etc::kFileBytesMax, 'x');
  CHECK(files.judge(put("a", full + "x")) == EtcOutcome::kTooLarge);
  for (std::size_t i = 0; i < etc::kTotalBytesMax / etc::kFileBytesMax; ++i) {
    const auto change = put("f" + std::to_string(i), full);
    REQUIRE(files.judge(change) == EtcOutcome::kDone);
    files.apply(change, i + 1);
  }
  CHECK(files.judge(put("a", "x")) == EtcOutcome::kTooLarge);
  CHECK(files.judge(put("f0", "x")) == EtcOutcome::kDone);
  auto more = put("f0", "x");
  more.kind = Kind::kAppend;
  CHECK(files.judge(more) == EtcOutcome::kTooLarge);
}

TEST_CASE("etc: a write is everywhere, and outlives a power cut of all nodes at once") {
  EtcWorld world({});
  establish(world);
  CHECK(write(world, n1, put("motd", "hello\n")) == EtcOutcome::kDone);
  for (const NodeId node : {n1, n2, n3}) world.power_off(node);
  for (const NodeId node : {n1, n2, n3}) world.power_on(node);
  establish(world);
  for (const NodeId node : {n1, n2, n3}) CHECK(read(world, node, "motd") == "hello\n");
}

TEST_CASE("etc: of two writers who read the same version one is refused") {
  EtcWorld world({});
  establish(world);
  world.propose(n1, put("a", "from 1", etc::kNoFile));
  world.propose(n2, put("a", "from 2", etc::kNoFile));
  REQUIRE(world.network().run_until(
      [&] { return world.decided(n1).has_value() && world.decided(n2).has_value(); }, 10'000));
  CHECK((*world.decided(n1) == EtcOutcome::kDone) != (*world.decided(n2) == EtcOutcome::kDone));
  const bool first = *world.decided(n1) == EtcOutcome::kDone;
  CHECK(*world.decided(first ? n2 : n1) == EtcOutcome::kChanged);
  CHECK(read(world, n1, "a") == (first ? "from 1" : "from 2"));
}

TEST_CASE("etc: a minority is refused, and gets what the others wrote when it is back") {
  EtcWorld world({});
  establish(world);
  CHECK(write(world, n3, put("a", "old")) == EtcOutcome::kDone);
  world.network().partition({{n1, n2}, {n3}});
  world.network().run_for_ms(2'000);
  CHECK(write(world, n3, put("a", "of the minority")) == EtcOutcome::kNoQuorum);
  CHECK(write(world, n1, put("a", "new")) == EtcOutcome::kDone);
  CHECK(read(world, n3, "a") == "old");
  world.network().heal();
  world.network().run_for_ms(2'000);
  establish(world);
  CHECK(read(world, n3, "a") == "new");
}

TEST_CASE("etc: who was away when the others wrote does not win, though alone with an older copy") {
  EtcWorld world({});
  establish(world);
  CHECK(write(world, n1, put("a", "old")) == EtcOutcome::kDone);
  world.power_off(n1);
  world.network().run_for_ms(2'000);
  CHECK(write(world, n2, put("a", "new")) == EtcOutcome::kDone);
  world.power_off(n2);
  world.power_off(n3);
  world.power_on(n1);  // the lowest, which asks in the join
  world.power_on(n3);
  REQUIRE(world.network().run_until(
      [&] { return world.replica(n1)->established() && world.replica(n3)->established(); },
      10'000));
  CHECK(read(world, n1, "a") == "new");
}

TEST_CASE("etc: a saved state that is damaged is refused and changes nothing") {
  EtcWorld world({});
  establish(world);
  CHECK(write(world, n1, put("a", "x")) == EtcOutcome::kDone);
  auto saved = world.replica(n1)->save();
  EtcReplica good({.self = n1});
  CHECK(good.restore(saved));
  CHECK(good.files() == world.replica(n1)->files());
  saved.resize(saved.size() / 2);
  EtcReplica bad({.self = n1});
  CHECK_FALSE(bad.restore(saved));
  CHECK(bad.files().all().empty());
}

TEST_CASE("etc: chaos on 3 nodes") { play(3, 40); }
TEST_CASE("etc: chaos on 5 nodes") { play(5, 20); }
