#include "ssid/wire/group/group_codec.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;
using namespace ssi::group;

namespace {

const SsiPid kProcess{NodeId{1}, 70041};

TableEntry entry(std::int32_t pid) {
  return {.process = {NodeId{1}, pid},
          .where = NodeId{2},
          .epoch = Epoch{3},
          .start_time = 99,
          .comm = "xz",
          .uid = 1000,
          .exe = "/usr/bin/xz",
          .nmigs = 3,
          .since_ms = 1'700'000'000'000,
          .gone = true,
          .unit = 70040};
}

const Commit kCommit{.process = kProcess,
                     .from = NodeId{1},
                     .to = NodeId{2},
                     .epoch = Epoch{1},
                     .start_time = 1234567,
                     .comm = "xz",
                     .uid = 1000,
                     .exe = "/usr/bin/xz",
                     .at_ms = 5,
                     .proposal = 77,
                     .term = 3,
                     .members = {{70042, 1234570, "cc1", 1000, "/usr/bin/cc1"}}};
const Retire kRetire{.process = kProcess,
                     .epoch = Epoch{1},
                     .start_time = 1234567,
                     .wait_status = 9,
                     .reason = "node 2 is down",
                     .node = NodeId{2},
                     .proposal = 78};

std::vector<GroupMessage> one_of_each() {
  Snapshot snapshot{.nonce = 5,
                    .ballot = 9,
                    .part = 1,
                    .parts = 3,
                    .committed = 40,
                    .entries = {entry(70041), entry(70042)},
                    .tombstones = {{.process = kProcess,
                                    .epoch = Epoch{2},
                                    .start_time = 4,
                                    .wait_status = 256,
                                    .reason = "ended",
                                    .node = NodeId{3}}},
                    .boots = {{NodeId{1}, "a"}, {NodeId{2}, "b"}},
                    .pending = {{NodeId{1}, kCommit},
                                {NodeId{2}, kRetire},
                                {NodeId{3}, Claim{entry(5), 8}},
                                {NodeId{1}, Boots{{{NodeId{1}, "a"}}}},
                                {NodeId{2}, SetDrained{NodeId{3}, true, 9, 4}}},
                    .drained = {NodeId{2}, NodeId{5}}};
  return {kCommit,
          kRetire,
          Claim{entry(70050), 12},
          snapshot,
          SyncRequest{3, 4},
          SyncReply{3, 4, 5, 6, 7, "boot", 3},
          Ack{6, 7},
          NodeInfo{.node = NodeId{2},
                   .boot_id = "b-1",
                   .cpus = 8,
                   .cpu_speed_mhz = 3200,
                   .runnable = 2.5,
                   .load1 = 1.25,
                   .mem_total = 1ull << 35,
                   .mem_free = 1ull << 34,
                   .guests_in = 3,
                   .guests_out = 1,
                   .accepting = true,
                   .drained = false,
                   .address = "10.0.0.2",
                   .version = "0.1.0",
                   .cpu_features = "avx2",
                   .cpu_pressure = 12.5,
                   .mem_pressure = 0.5},
          Signal{kProcess, Epoch{2}, 15, -4, 1000, 333, true, true},
          GuestStopped{kProcess, Epoch{2}, 19},
          GuestContinued{kProcess, Epoch{2}},
          Request{1, NodeId{1}, NodeId{2}, "migrate", "{}", 1000, 1000},
          Reply{1, NodeId{1}, 2, "migrate 70041: no such process", "{}"},
          Event{"node 2 joined", "{\"node\":2}"},
          SetDrained{NodeId{2}, false, 13, 6},
          EtcFrame{{1, 2, 3}}};
}

}  // namespace

TEST_CASE("every message comes back as it was sent") {
  const auto all = one_of_each();
  REQUIRE(all.size() == std::variant_size_v<GroupMessage>);
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(all[i].index() == i);
    const auto frame = encode(all[i]);
    auto back = decode(frame);
    CAPTURE(name_of(all[i]));
    REQUIRE(back.ok());
    CHECK(*back == all[i]);
  }
}

TEST_CASE("a frame at an odd address is read all the same") {
  auto frame = encode(kCommit);
  frame.insert(frame.begin(), 0);
  auto back = decode(std::span(frame).subspan(1));
  REQUIRE(back.ok());
  CHECK(*back == GroupMessage(kCommit));
}

TEST_CASE("texts beyond their limit are cut when sent") {
  auto back = decode(encode(Event{std::string(kTextBytesMax + 5, 'x'), ""}));
  REQUIRE(back.ok());
  CHECK(std::get<Event>(*back).text.size() == kTextBytesMax);
}

TEST_CASE("what makes no sense is refused") {
  const auto why = [](const GroupMessage& m) {
    auto result = decode(encode(m));
    REQUIRE(!result.ok());
    CHECK(result.error().code() == ErrorCode::kRefused);
    return result.error().message();
  };
  Commit commit = kCommit;
  commit.epoch = Epoch{0};
  CHECK(why(commit) == "group message: no epoch");
  commit = kCommit;
  commit.to = NodeId{0};
  CHECK(why(commit) == "group message: no node");
  commit = kCommit;
  commit.process.pid = -1;
  CHECK(why(commit) == "group message: no PID");
  CHECK(why(Signal{kProcess, Epoch{1}, 65, 0, 0, 0, false}) == "group message: no such signal");
  CHECK(why(SetDrained{NodeId{0}, true, 1, 1}) == "group message: no node");
  Snapshot snapshot;
  snapshot.drained = {NodeId{0}};
  CHECK(why(snapshot) == "group message: no node");
  snapshot.part = 3;
  snapshot.parts = 3;
  CHECK(why(snapshot) == "group message: part beyond the last");
  NodeInfo info;
  info.node = NodeId{1};
  info.load1 = -1;
  CHECK(why(info) == "group message: a measure is no number");
}

TEST_CASE("garbage and other versions are refused") {
  CHECK(!decode({}).ok());
  const std::vector<std::uint8_t> zeros(64, 0);
  CHECK(decode(zeros).error().message() == "group message: not a frame of ssid");
  auto frame = encode(kCommit);
  const auto whole = frame;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    auto cut = decode(std::span(whole).first(n));
    CHECK((!cut.ok() || *cut == GroupMessage(kCommit)));  // the last bytes are padding
  }
  const std::vector<std::uint8_t> long_frame(kFrameBytesMax + 1, 0);
  CHECK(decode(long_frame).error().message() == "group message: too long");
}

TEST_CASE("100,000 mutated frames: refused, or read and written again, never a crash") {
  std::mt19937 random(20240607);  // fixed: the same frames each time
  std::vector<std::vector<std::uint8_t>> frames;
  for (const auto& m : one_of_each()) frames.push_back(encode(m));
  int read = 0;
  for (int i = 0; i < 100'000; ++i) {
    auto frame = frames[random() % frames.size()];
    const int changes = 1 + static_cast<int>(random() % 6);
    for (int c = 0; c < changes; ++c) {
      const std::size_t at = random() % frame.size();
      switch (random() % 6) {
        case 0:
          frame[at] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          frame[at] ^= static_cast<std::uint8_t>(1u << (random() % 8));
          break;
        case 2:
          frame[at] = 0xff;
          break;
        case 3:
          frame.resize(std::max<std::size_t>(at, 1));
          break;
        case 4:
          frame.insert(frame.begin() + static_cast<std::ptrdiff_t>(at), 4, 0);
          break;
        default: {  // a part of another message
          const auto& other = frames[random() % frames.size()];
          const std::size_t n = std::min({other.size(), frame.size() - at, std::size_t{16}});
          std::copy_n(other.begin(), n, frame.begin() + static_cast<std::ptrdiff_t>(at));
        }
      }
    }
    if (auto message = decode(frame)) {
      ++read;
      auto again = decode(encode(*message));
      CAPTURE(i);
      REQUIRE(again.ok());
      CHECK(*again == *message);
    }
  }
  CHECK(read > 1000);  // the mutations are mild enough to reach the readers
}
