#include "ssid/daemon/etc_control.h"

#include <doctest/doctest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <filesystem>

using namespace ssi;

namespace {

// A cluster of one node that hears itself, or of three of which it is the only one.
class Alone : public Cluster {
 public:
  Alone(boost::asio::io_context& io, std::uint32_t nodes) : io_(io) {
    for (std::uint32_t i = 1; i <= nodes; ++i) nodes_.push_back({NodeId{i}, "n", {}});
    view_.members = {NodeId{1}};
    view_.quorate = nodes == 1;
  }
  NodeId self() const override { return NodeId{1}; }
  const std::vector<Node>& nodes() const override { return nodes_; }
  const std::vector<NodeId>& up() const override { return view_.members; }
  const View& view() const override { return view_; }
  bool may_commit() const override { return view_.quorate; }
  Result<> start(ClusterHandlers) override { return {}; }
  Result<> send(std::span<const std::uint8_t> message, Needs) override {
    boost::asio::post(io_, [this, bytes = std::vector(message.begin(), message.end())] {
      const auto read = group::decode(bytes);
      REQUIRE(read);
      on_frame(std::get<group::EtcFrame>(*read));
    });
    return {};
  }
  std::function<void(const group::EtcFrame&)> on_frame;

 private:
  boost::asio::io_context& io_;
  std::vector<Node> nodes_;
  View view_;
};

struct World {
  explicit World(const std::string& directory, std::uint32_t nodes = 1) : cluster(io, nodes) {
    EtcControl::Handlers handlers;
    handlers.on_changed = [this](const SharedFiles& files) { seen = files; };
    handlers.wait_for_all = [this](std::function<void()> done) { boost::asio::post(io, done); };
    auto opened = EtcControl::open(io, clock, cluster, directory, std::move(handlers));
    if (!opened) {
      problem = opened.error().message();
      return;
    }
    etc = std::move(*opened);
    cluster.on_frame = [this](const group::EtcFrame& frame) { etc->on_frame(NodeId{1}, frame); };
    etc->on_view();
  }

  EtcOutcome write(const std::string& name, const std::string& contents,
                   std::uint64_t expects = etc::kAnyVersion) {
    etc::Change change;
    change.name = name;
    change.contents = contents;
    change.expects = expects;
    std::optional<EtcOutcome> outcome;
    etc->change(std::move(change), [&](EtcOutcome what) { outcome = what; });
    const auto work = boost::asio::make_work_guard(io);
    io.restart();
    while (!outcome) io.run_one();
    return *outcome;
  }

  boost::asio::io_context io;
  ManualClock clock;
  Alone cluster;
  SharedFiles seen;
  std::string problem;
  std::unique_ptr<EtcControl> etc;
};

struct Directory {
  Directory() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/etc_control_test.XXXXXX";
};

}  // namespace

TEST_CASE("etc control: what is written is seen, and is there after a restart") {
  const Directory directory;
  {
    World world(directory.path);
    CHECK(world.write("a", "one", etc::kNoFile) == EtcOutcome::kDone);
    CHECK(world.write("a", "two", etc::kNoFile) == EtcOutcome::kChanged);
    CHECK(world.write("b", "") == EtcOutcome::kDone);
    CHECK(world.etc->files()->find("a")->contents == "one");
    CHECK(world.seen == *world.etc->files());
    CHECK(world.etc->writable());
  }
  World world(directory.path);
  CHECK(world.seen.find("a")->contents == "one");  // before anybody has been heard
  CHECK(world.write("a", "two", world.seen.find("a")->version) == EtcOutcome::kDone);
}

TEST_CASE("etc control: changes asked for at once are done one after another") {
  const Directory directory;
  World world(directory.path);
  std::string order;
  for (const char c : {'1', '2', '3'}) {
    etc::Change change;
    change.kind = etc::Kind::kAppend;
    change.name = "log";
    change.contents = c;
    world.etc->change(std::move(change), [&order, c](EtcOutcome what) {
      if (what == EtcOutcome::kDone) order += c;
    });
  }
  CHECK(world.write("last", "x") == EtcOutcome::kDone);
  CHECK(order == "123");
  CHECK(world.seen.find("log")->contents == "123");
}

TEST_CASE("etc control: without quorum a change is refused at once") {
  const Directory directory;
  World world(directory.path, 3);
  CHECK(world.write("a", "x") == EtcOutcome::kNoQuorum);
  CHECK_FALSE(world.etc->writable());
  CHECK(etc_error(EtcOutcome::kNoQuorum, "a").message() ==
        "/cluster/etc/a: no quorum: nothing may be changed now");
}

TEST_CASE("etc control: while the disk refuses nothing is done, and it is tried again") {
  const Directory directory;
  World world(directory.path);
  CHECK(world.write("a", "old") == EtcOutcome::kDone);
  const std::string beside = directory.path + "/etc.state.new";
  std::filesystem::create_directory(beside);
  std::optional<EtcOutcome> outcome;
  etc::Change change;
  change.name = "a";
  change.contents = "new";
  world.etc->change(change, [&](EtcOutcome what) { outcome = what; });
  const auto work = boost::asio::make_work_guard(world.io);  // the disk answers from its own thread
  world.io.restart();
  world.io.run_for(std::chrono::milliseconds(200));
  CHECK_FALSE(outcome);
  CHECK(world.seen.find("a")->contents == "old");
  std::filesystem::remove(beside);
  for (int i = 0; i < 1000 && !outcome; ++i) {  // refused as late as that, it is a tick later
    world.etc->on_tick();
    world.io.run_for(std::chrono::milliseconds(10));
  }
  REQUIRE(outcome);
  CHECK(*outcome == EtcOutcome::kDone);
  CHECK(world.seen.find("a")->contents == "new");
}

TEST_CASE("etc control: a change of which nothing is heard is given up as unsure") {
  const Directory directory;
  World world(directory.path);
  CHECK(world.write("a", "old") == EtcOutcome::kDone);
  world.cluster.on_frame = [](const group::EtcFrame&) {};  // everything is lost
  std::optional<EtcOutcome> outcome;
  etc::Change change;
  change.name = "a";
  world.etc->change(change, [&](EtcOutcome what) { outcome = what; });
  world.io.restart();
  world.io.run_for(std::chrono::milliseconds(50));
  CHECK_FALSE(outcome);
  world.clock.advance_ms(EtcControl::kWait_ms);
  world.etc->on_tick();
  CHECK(outcome == EtcOutcome::kUnsure);
}

TEST_CASE("etc control: a damaged state is not taken for an empty one") {
  const Directory directory;
  { CHECK(World(directory.path).write("a", "x") == EtcOutcome::kDone); }
  std::filesystem::resize_file(directory.path + "/etc.state", 40);
  CHECK(World(directory.path).problem ==
        directory.path + "/etc.state: state of /cluster/etc: damaged");
}
