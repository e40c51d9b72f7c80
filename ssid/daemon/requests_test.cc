#include "ssid/daemon/requests.h"

#include <doctest/doctest.h>

#include <deque>
#include <optional>

namespace ssi {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

// What all nodes have said, in order; delivered by World::settle().
using Bus = std::deque<std::pair<NodeId, group::GroupMessage>>;

class Port : public GroupPort {
 public:
  Port(Bus& bus, NodeId self, std::vector<NodeId> members) : bus_(bus), self_(self) {
    view_.members = std::move(members);
  }
  NodeId self() const override { return self_; }
  const View& view() const override { return view_; }
  bool table_valid() const override { return true; }
  std::uint64_t term() const override { return 1; }
  std::optional<group::TableEntry> find(SsiPid) const override { return {}; }
  std::optional<group::Tombstone> tombstone(SsiPid) const override { return {}; }
  std::vector<group::TableEntry> entries() const override { return {}; }
  bool drained(NodeId) const override { return false; }
  Result<> propose(group::Operation) override { return {}; }
  Result<> broadcast(const group::GroupMessage& message) override {
    if (down) return Error("corosync is gone");
    bus_.emplace_back(self_, message);
    return {};
  }
  std::string address_of(NodeId) const override { return ""; }
  std::string name_of(NodeId) const override { return ""; }

  bool down = false;

 private:
  Bus& bus_;
  NodeId self_;
  View view_;
};

struct Member {
  Member(boost::asio::io_context& io, Bus& bus, NodeId self, const std::vector<NodeId>& all)
      : port(bus, self, all),
        requests(io, port, [this](const group::Request& r, Requests::Done done) {
          served.push_back(r.op + " " + r.json);
          if (r.op == "fail") return done(Error(ErrorCode::kBusy, "not now"));
          done(json{{"node", port.self().value}});
        }) {}

  Port port;
  Requests requests;
  std::vector<std::string> served;
};

struct World {
  boost::asio::io_context io;
  Bus bus;
  std::map<NodeId, std::unique_ptr<Member>> members;
  std::set<NodeId> mute;  // these say nothing

  explicit World(const std::vector<NodeId>& nodes) {
    for (const NodeId n : nodes) members[n] = std::make_unique<Member>(io, bus, n, nodes);
  }
  Requests& of(std::uint32_t node) { return members.at(NodeId{node})->requests; }

  // Delivers all to all, in one order.
  void settle() {
    for (; !bus.empty(); bus.pop_front()) {
      const auto [from, message] = bus.front();
      if (mute.contains(from)) continue;
      for (auto& [node, member] : members) {
        if (auto* r = std::get_if<group::Request>(&message)) member->requests.on_request(*r);
        if (auto* r = std::get_if<group::Reply>(&message)) member->requests.on_reply(from, *r);
      }
    }
  }
};

// What was told, once.
struct Told {
  std::optional<Requests::Answers> answers;
  std::function<void(Requests::Answers)> taker() {
    return [this](Requests::Answers told) {
      REQUIRE_FALSE(answers);
      answers = std::move(told);
    };
  }
  std::string of(std::uint32_t node) const {
    const auto& answer = answers->at(NodeId{node});
    return answer ? answer->dump() : answer.error().message();
  }
};

}  // namespace

TEST_CASE("a question to one node is answered by that one") {
  World world({{1}, {2}, {3}});
  std::optional<Result<json>> answer;
  world.of(1).ask({2}, "op", {{"a", 1}}, 0, 1s, [&](Result<json> a) { answer = std::move(a); });
  world.settle();
  REQUIRE(answer);
  CHECK(answer->value() == json{{"node", 2}});
  CHECK(world.members.at({2})->served == std::vector<std::string>{R"(op {"a":1})"});
  CHECK(world.members.at({3})->served.empty());

  world.of(1).ask({2}, "fail", json::object(), 0, 1s, [&](Result<json> a) { answer = a; });
  world.settle();
  CHECK(answer->error().code() == ErrorCode::kBusy);
  CHECK(answer->error().message() == "not now");

  world.of(1).ask({9}, "op", json::object(), 0, 1s, [&](Result<json> a) { answer = a; });
  world.io.poll();
  CHECK(answer->error().message() == "node 9 is not up");
}

TEST_CASE("a question to all is one message, which each answers, who asks too") {
  World world({{1}, {2}, {3}});
  Told told;
  world.of(2).ask_all("op", "no JSON", 0, 1s, told.taker());
  CHECK(world.bus.size() == 1);
  world.settle();
  REQUIRE(told.answers);
  CHECK(told.answers->size() == 3);
  for (std::uint32_t node : {1, 2, 3}) {
    CHECK(told.of(node) == "{\"node\":" + std::to_string(node) + "}");
    CHECK(world.members.at({node})->served == std::vector<std::string>{"op no JSON"});
  }
}

TEST_CASE("who leaves or is silent is told of as such, the others' answers count") {
  World world({{1}, {2}, {3}});
  world.mute = {{2}, {3}};
  Told told;
  world.of(1).ask_all("op", "", 0, 10ms, told.taker());
  world.settle();
  world.of(1).on_left({3});
  CHECK_FALSE(told.answers);
  world.io.run();
  REQUIRE(told.answers);
  CHECK(told.of(1) == R"({"node":1})");
  CHECK(told.of(2) == "node 2 does not answer");
  CHECK(told.answers->at({2}).error().code() == ErrorCode::kTimeout);
  CHECK(told.of(3) == "node 3 has left the cluster");
}

TEST_CASE("without a group there is no answer, but an end") {
  World alone{std::vector<NodeId>()};
  Bus bus;
  Member member(alone.io, bus, {1}, {});
  Told told;
  member.requests.ask_all("op", "", 0, 1s, told.taker());
  alone.io.poll();
  REQUIRE(told.answers);
  CHECK(told.answers->empty());

  World world({{1}, {2}});
  world.members.at({1})->port.down = true;
  Told failed;
  world.of(1).ask_all("op", "", 0, 1s, failed.taker());
  world.io.poll();
  REQUIRE(failed.answers);
  CHECK(failed.of(2) == "corosync is gone");
}

}  // namespace ssi
