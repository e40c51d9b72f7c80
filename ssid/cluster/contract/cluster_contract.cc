// The contract of cluster.h as test cases. Compiled into two programs: cluster_contract_sim_tests,
// which always runs, and cluster_corosync_contract, which runs in a lab.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "ssid/cluster/contract/contract_world.h"

using namespace ssi;

namespace {

using Messages = std::vector<std::pair<NodeId, std::uint64_t>>;

class Fixture {
 public:
  Fixture() : world(make_contract_world()), all(world->nodes()) {}

  void start_all() {
    for (const NodeId node : all) world->start(node);
    REQUIRE(wait_view(all, all));
  }

  // Until the last view of each of `nodes` has exactly `members`.
  bool wait_view(const std::vector<NodeId>& nodes, const std::vector<NodeId>& members) {
    const bool came = world->wait([&] {
      return std::all_of(nodes.begin(), nodes.end(), [&](NodeId node) {
        const Observation* view = last_view(node);
        return members.empty() ? (view == nullptr || view->members.empty())
                               : (view != nullptr && view->members == members);
      });
    });
    if (!came) print(nodes);
    return came;
  }

  const Observation* last_view(NodeId node) const {
    const auto& log = world->log(node);
    const auto found =
        std::find_if(log.rbegin(), log.rend(), [](const auto& o) { return o.is_view; });
    return found == log.rend() ? nullptr : &*found;
  }

  // What a node was told after its last view.
  Messages since_last_view(NodeId node) const {
    Messages messages;
    for (const Observation& seen : world->log(node)) {
      if (seen.is_view) {
        messages.clear();
      } else {
        messages.emplace_back(seen.from, seen.seq);
      }
    }
    return messages;
  }

  // The log behind the first view with everybody.
  std::vector<Observation> since_all_met(NodeId node) const {
    const auto& log = world->log(node);
    const auto met = std::find_if(log.begin(), log.end(), [this](const auto& seen) {
      return seen.is_view && seen.members == all;
    });
    return met == log.end() ? log : std::vector<Observation>(met + 1, log.end());
  }

  Messages messages(NodeId node) const {
    Messages all_of_them;
    for (const Observation& seen : world->log(node)) {
      if (!seen.is_view) all_of_them.emplace_back(seen.from, seen.seq);
    }
    return all_of_them;
  }

  bool wait_count(const std::vector<NodeId>& nodes, std::size_t count) {
    const bool came = world->wait([&] {
      return std::all_of(nodes.begin(), nodes.end(),
                         [&](NodeId node) { return messages(node).size() >= count; });
    });
    if (!came) print(nodes);
    return came;
  }

  // True of every log: content, sender, order of one sender, views that follow from each other.
  void check_logs() {
    for (const NodeId node : all) {
      std::vector<NodeId> members;
      std::map<NodeId, std::uint64_t> last_seq;
      for (const Observation& seen : world->log(node)) {
        CAPTURE(node.value);
        CAPTURE(seen.to_string());
        if (!seen.is_view) {
          CHECK(seen.intact);
          CHECK(seen.sender_in_view);
          std::uint64_t& last = last_seq[seen.from];
          CHECK(seen.seq > last);
          last = seen.seq;
          continue;
        }
        CHECK(std::is_sorted(seen.members.begin(), seen.members.end()));
        CHECK(seen.quorate == (seen.members.size() * 2 > all.size()));
        CHECK((!seen.joined.empty() || !seen.left.empty()));
        for (const NodeId joined : seen.joined) {
          CHECK(std::binary_search(seen.members.begin(), seen.members.end(), joined));
        }
        for (const NodeId left : seen.left) {
          CHECK(std::binary_search(members.begin(), members.end(), left));
        }
        for (const NodeId member : seen.members) {
          const bool was = std::binary_search(members.begin(), members.end(), member);
          const bool joined =
              std::find(seen.joined.begin(), seen.joined.end(), member) != seen.joined.end();
          CHECK((was || joined));
          if (joined) last_seq.erase(member);
        }
        members = seen.members;
      }
    }
  }

  void print(const std::vector<NodeId>& nodes) {
    for (const NodeId node : nodes) {
      std::string text = "node " + std::to_string(node.value) + ":\n";
      const auto& log = world->log(node);
      for (std::size_t i = log.size() > 20 ? log.size() - 20 : 0; i < log.size(); ++i) {
        text += "  " + log[i].to_string() + "\n";
      }
      MESSAGE(text);
    }
  }

  Result<> send(NodeId node, std::uint64_t size = 16, Needs needs = Needs::kNothing) {
    return world->send(node, ++seq, size, needs);
  }

  std::unique_ptr<ContractWorld> world;
  std::vector<NodeId> all;
  std::uint64_t seq = 0;
};

std::vector<NodeId> without(std::vector<NodeId> nodes, NodeId one) {
  std::erase(nodes, one);
  return nodes;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "contract: all come together and know who is who") {
  start_all();
  for (const NodeId node : all) {
    REQUIRE(world->wait([&] { return world->info(node).may_commit; }));
    const ClusterInfo info = world->info(node);
    CHECK(info.self == node);
    CHECK(info.up == all);
    REQUIRE(info.nodes.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(info.nodes[i].id == all[i]);
      CHECK(!info.nodes[i].name.empty());
      CHECK(!info.nodes[i].addresses.empty());
    }
    CHECK(last_view(node)->quorate);
  }
  check_logs();
}

TEST_CASE_FIXTURE(Fixture, "contract: everybody gets everything, his own too, in one order") {
  start_all();
  constexpr std::size_t kEach = 200;
  for (std::size_t i = 0; i < kEach; ++i) {
    for (const NodeId node : all) REQUIRE(send(node, 16 + (i * 37) % 3000).ok());
  }
  REQUIRE(wait_count(all, kEach * all.size()));
  const Messages first = messages(all[0]);
  CHECK(first.size() == kEach * all.size());
  for (const NodeId node : all) CHECK(messages(node) == first);
  check_logs();
}

TEST_CASE_FIXTURE(
    Fixture, "contract: long messages come whole and in their place; too long ones are refused") {
  start_all();
  for (const std::uint64_t size :
       {1ull << 20, 100ull, (1ull << 20) + 1, 3ull << 20, 16ull, 300'000ull}) {
    for (const NodeId node : all) REQUIRE(send(node, size).ok());
  }
  CHECK(!send(all[0], Cluster::kMessageBytesMax + 1).ok());
  REQUIRE(send(all[0], Cluster::kMessageBytesMax).ok());
  REQUIRE(wait_count(all, 6 * all.size() + 1));
  for (const NodeId node : all) CHECK(messages(node) == messages(all[0]));
  check_logs();
}

TEST_CASE_FIXTURE(Fixture,
                  "contract: a process that dies leaves the view, and comes back as a new one") {
  start_all();
  const NodeId gone = all.back();
  const auto rest = without(all, gone);
  world->kill(gone);
  REQUIRE(wait_view(rest, rest));
  CHECK(last_view(all[0])->left == std::vector{gone});
  CHECK(world->info(all[0]).up == all);  // its machine is up: JOINING
  REQUIRE(send(all[0]).ok());
  REQUIRE(wait_count(rest, 1));
  world->start(gone);
  REQUIRE(wait_view(all, all));
  REQUIRE(send(all[0]).ok());
  REQUIRE(wait_count({gone}, 1));
  REQUIRE(world->wait([&] { return !since_last_view(all[0]).empty(); }));
  CHECK(messages(gone) == since_last_view(all[0]));
  check_logs();
}

TEST_CASE_FIXTURE(
    Fixture, "contract: who joins between the parts of a message gets what all in its view get") {
  start_all();
  const NodeId joiner = all.back();
  for (int round = 0; round < 5; ++round) {
    world->kill(joiner);
    REQUIRE(wait_view(without(all, joiner), without(all, joiner)));
    for (int i = 0; i < 4; ++i) REQUIRE(send(all[0], 900'000).ok());
    world->start(joiner);
    REQUIRE(wait_view(all, all));
    REQUIRE(send(all[0]).ok());
    const std::uint64_t last = seq;
    const auto has_last = [&] {
      return std::all_of(all.begin(), all.end(), [&](NodeId node) {
        const auto got = messages(node);
        return !got.empty() && got.back().second == last;
      });
    };
    REQUIRE(world->wait(has_last));
    for (const NodeId node : all) CHECK(since_last_view(node) == since_last_view(all[0]));
  }
  check_logs();
}

TEST_CASE_FIXTURE(Fixture, "contract: one alone has no quorum, and its own messages still come") {
  start_all();
  if (all.size() < 3) return;
  const NodeId alone = all[0];
  for (const NodeId node : without(all, alone)) world->kill(node);
  REQUIRE(wait_view({alone}, {alone}));
  CHECK(!last_view(alone)->quorate);
  const auto refused = send(alone, 16, Needs::kQuorum);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code() == ErrorCode::kNoQuorum);
  REQUIRE(send(alone).ok());
  REQUIRE(wait_count({alone}, 1));
  check_logs();
}

TEST_CASE_FIXTURE(
    Fixture, "contract: a cut makes two views, mending it one; who stays together gets the same") {
  if (!world->can_cut() || all.size() < 3) {
    MESSAGE("skipped: this world has no cuts");
    return;
  }
  start_all();
  const NodeId alone = all[0];
  const auto rest = without(all, alone);
  for (int i = 0; i < 50; ++i) {
    for (const NodeId node : all) REQUIRE(send(node, 2000).ok());
  }
  world->cut({{alone}, {rest.begin(), rest.end()}});
  for (int i = 0; i < 50; ++i) {
    for (const NodeId node : all) REQUIRE(send(node, 2000).ok());
  }
  REQUIRE(wait_view(rest, rest));
  REQUIRE(wait_view({alone}, {alone}));
  CHECK(last_view(rest[0])->quorate);
  CHECK(!last_view(alone)->quorate);
  REQUIRE(world->wait([&] { return !world->info(alone).may_commit; }));
  REQUIRE(send(alone).ok());
  REQUIRE(send(rest[0]).ok());
  // All of each sender on its side of the cut; before it, some of the others may have come too.
  const auto has_all_of = [&](NodeId node, const std::vector<NodeId>& senders) {
    const Messages got = messages(node);
    return std::all_of(senders.begin(), senders.end(), [&](NodeId sender) {
      const auto count = std::count_if(
          got.begin(), got.end(), [&](const auto& message) { return message.first == sender; });
      return count == (sender == alone || sender == rest[0] ? 101 : 100);
    });
  };
  REQUIRE(world->wait([&] {
    return has_all_of(alone, {alone}) && std::all_of(rest.begin(), rest.end(), [&](NodeId node) {
             return has_all_of(node, rest);
           });
  }));
  for (const NodeId node : rest) CHECK(since_all_met(node) == since_all_met(rest[0]));
  world->heal();
  REQUIRE(wait_view(all, all));
  for (const NodeId node : all) REQUIRE(send(node).ok());
  REQUIRE(world->wait([&] {
    return std::all_of(all.begin(), all.end(),
                       [&](NodeId node) { return since_last_view(node).size() >= all.size(); });
  }));
  for (const NodeId node : all) CHECK(since_last_view(node) == since_last_view(all[0]));
  check_logs();
}

TEST_CASE_FIXTURE(Fixture, "contract: corosync restarts: no view meanwhile, then back by itself") {
  if (!world->can_restart()) {
    MESSAGE("skipped: this world can't restart corosync");
    return;
  }
  start_all();
  const NodeId node = all.back();
  const std::size_t before = world->log(node).size();
  world->restart_corosync(node);
  const auto was_out = [&] {
    const auto& log = world->log(node);
    return std::any_of(log.begin() + static_cast<std::ptrdiff_t>(before), log.end(),
                       [](const auto& seen) { return seen.is_view && seen.members.empty(); });
  };
  REQUIRE(world->wait(was_out));
  REQUIRE(wait_view(all, all));
  REQUIRE(send(node).ok());
  REQUIRE(world->wait([&] {
    return std::all_of(all.begin(), all.end(),
                       [&](NodeId other) { return since_last_view(other).size() == 1; });
  }));
  check_logs();
}
