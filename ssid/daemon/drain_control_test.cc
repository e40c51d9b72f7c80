#include "ssid/daemon/drain_control.h"

#include <doctest/doctest.h>

#include <optional>

using namespace ssi;

namespace {

const NodeId n2{2};

// A group that decides when it is told to.
struct Group : GroupPort {
  bool quorate = true;
  std::vector<group::Operation> proposed;
  View no_view;

  NodeId self() const override { return NodeId{1}; }
  const View& view() const override { return no_view; }
  bool table_valid() const override { return quorate; }
  std::uint64_t term() const override { return 1; }
  std::optional<group::TableEntry> find(SsiPid) const override { return std::nullopt; }
  std::optional<group::Tombstone> tombstone(SsiPid) const override { return std::nullopt; }
  std::vector<group::TableEntry> entries() const override { return {}; }
  bool drained(NodeId) const override { return false; }
  Result<> propose(group::Operation operation) override {
    if (!quorate) return Error(ErrorCode::kNoQuorum, "the cluster has no quorum");
    proposed.push_back(std::move(operation));
    return {};
  }
  Result<> broadcast(const group::GroupMessage&) override { return {}; }
  std::string address_of(NodeId) const override { return ""; }
  std::string name_of(NodeId) const override { return ""; }
};

struct Asking {
  boost::asio::io_context io;
  Group group;
  DrainControl drains{io, group, std::chrono::milliseconds(20)};
  std::optional<Result<>> said;

  void ask(bool drained = true) {
    drains.set_drained(n2, drained, [this](Result<> r) {
      CHECK(!said);
      said = std::move(r);
    });
  }
  void decide(Applied applied, bool drained = true) {
    drains.on_event(
        TableReplica::Decided{1, applied, group::SetDrained{.node = n2, .drained = drained}});
  }
};

}  // namespace

TEST_CASE("who drains a node is told when the group has decided it, once") {
  Asking a;
  a.ask();
  REQUIRE(a.group.proposed.size() == 1);
  CHECK(std::get<group::SetDrained>(a.group.proposed[0]).node == n2);
  CHECK(!a.said);
  a.decide(Applied::kAccepted, false);  // another wish
  CHECK(!a.said);
  a.decide(Applied::kAccepted);
  REQUIRE(a.said);
  CHECK(a.said->ok());
  a.decide(Applied::kAccepted);
  a.io.run();  // the timer is gone
}

TEST_CASE("without quorum nothing is drained, and it is said") {
  Asking a;
  a.group.quorate = false;
  a.ask();
  a.io.run();
  REQUIRE(a.said);
  CHECK(a.said->error().code() == ErrorCode::kNoQuorum);
  Asking later;
  later.ask(false);
  later.decide(Applied::kStale, false);
  REQUIRE(later.said);
  CHECK(later.said->error().code() == ErrorCode::kNoQuorum);
}

TEST_CASE("a group that does not decide is not waited for without end") {
  Asking a;
  a.ask();
  a.io.run();
  REQUIRE(a.said);
  CHECK(a.said->error().code() == ErrorCode::kTimeout);
  a.decide(Applied::kAccepted);  // too late, and no harm
}
