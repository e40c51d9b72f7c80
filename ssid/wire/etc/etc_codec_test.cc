#include "ssid/wire/etc/etc_codec.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;
using namespace ssi::etc;

namespace {

const Change kChange{.kind = Kind::kRename,
                     .name = "a",
                     .to = "loadlevellist",
                     .contents = "",
                     .mode = 0600,
                     .mtime_ns = -1,
                     .expects = 7,
                     .sender = NodeId{2},
                     .proposal = 8,
                     .term = 9};

State state() {
  State s;
  s.committed = 12;
  s.history = 99;
  s.files = {{"a", {std::string("x\0y", 3), 0644, 5, 3}}, {"b", {"", 0600, 6, 12}}};
  s.done = {{NodeId{1}, 4}};
  s.pending = {kChange};
  return s;
}

std::vector<Message> samples() {
  return {
      kChange,         SyncRequest{1, 2},   SyncReply{1, 2, 3, 4, 5, 6, 7}, Snapshot{1, 2, state()},
      Ack{1, 2, true}, Saved{1, 2, state()}};
}

std::string why(const Message& message) {
  const auto read = decode(encode(message));
  return read ? "" : read.error().message();
}

}  // namespace

TEST_CASE("etc messages: what is written is read") {
  for (const Message& message : samples()) {
    const auto read = decode(encode(message));
    REQUIRE(read);
    CHECK(*read == message);
  }
}

TEST_CASE("etc messages: what can't be is refused") {
  Change slash = kChange;
  slash.to = "../passwd";
  CHECK(why(slash) == "state of /cluster/etc: a name that no file may have");
  Change nobody = kChange;
  nobody.sender = {};
  CHECK(why(nobody) == "state of /cluster/etc: no sender");
  Change set_type = kChange;
  set_type.mode = 0120777;
  CHECK(why(set_type) == "state of /cluster/etc: a mode that no file may have");
  Change large = kChange;
  large.kind = Kind::kPut;
  large.contents.assign(kFileBytesMax + 1, 'x');
  CHECK(why(large) == "state of /cluster/etc: a file that is too large");
  State unordered = state();
  std::swap(unordered.files[0], unordered.files[1]);
  CHECK(why(Saved{1, 2, unordered}) == "state of /cluster/etc: files out of order");
  State young = state();
  young.files[0].second.version = 13;
  CHECK(why(Saved{1, 2, young}) == "state of /cluster/etc: a version that can't be");
}

TEST_CASE("etc messages: damaged frames are refused or read as something valid, never crash") {
  std::mt19937 random(1);
  for (const Message& message : samples()) {
    const auto good = encode(message);
    for (std::size_t size = 0; size < good.size(); ++size) {
      (void)decode({good.data(), size}).ok();
    }
    for (int i = 0; i < 3000; ++i) {
      auto bad = good;
      bad[random() % bad.size()] ^= static_cast<std::uint8_t>(1u << random() % 8);
      (void)decode(bad).ok();
    }
  }
}
