#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

TEST_CASE("an earlier attachment that is closed late does not end the one of today") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget node;
  REQUIRE(node.attach({1, 1, StreamDirection::kGuestWrites, 0, net.dial()}).ok());
  auto guest = node.attach({1, 3, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(node.start(1).ok());
  CHECK(node.close(1, 1).error().code() == ErrorCode::kGone);
  REQUIRE(write_all(**guest, "still here"));
  CHECK(read_exactly(*at_home.reader, 10) == "still here");
}

TEST_CASE("a writing guest moves on, again and again, and nothing is lost or doubled") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(7, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  const std::string text = pattern(2 << 20);
  std::string got;
  std::thread reader([&] { got = read_to_end(*at_home.reader); });
  std::mt19937 random(4);
  std::vector<std::unique_ptr<StreamTarget>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<StreamTarget>());
  std::size_t at = 0;
  std::uint64_t generation = 0;
  while (at < text.size()) {
    StreamTarget& node = *nodes[generation % 3];
    auto guest = node.attach({7, ++generation, StreamDirection::kGuestWrites, 65536, net.dial()});
    REQUIRE(guest.ok());
    REQUIRE(node.start(7).ok());
    const std::size_t size = std::min<std::size_t>(text.size() - at, random() % 150000 + 1);
    REQUIRE(write_all(**guest, std::string_view(text).substr(at, size)));
    at += size;
    if (generation % 4 == 0) net.cut();
    REQUIRE(node.drain(7, 10000).ok());
    if (at < text.size())
      CHECK(node.close(7, generation).ok());
    else
      guest->reset();
  }
  reader.join();
  CHECK(got == text);
}

TEST_CASE("a reading guest moves on with what it has not read") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(7, StreamDirection::kGuestReads, std::move(at_home.reader)).ok());
  const std::string text = pattern(2 << 20);
  std::thread writer([&] {
    CHECK(write_all(*at_home.writer, text));
    at_home.writer.reset();
  });
  std::mt19937 random(4);
  std::vector<std::unique_ptr<StreamTarget>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<StreamTarget>());
  std::string got;
  std::uint64_t generation = 0;
  while (got.size() < text.size()) {
    StreamTarget& node = *nodes[generation % 3];
    auto guest = node.attach({7, ++generation, StreamDirection::kGuestReads, 65536, net.dial()});
    REQUIRE(guest.ok());
    REQUIRE(node.start(7).ok());
    const std::size_t size = std::min<std::size_t>(text.size() - got.size(), random() % 150000 + 1);
    const std::string piece = read_exactly(**guest, size);
    REQUIRE(piece.size() == size);
    got += piece;
    if (generation % 4 == 0) net.cut();
    if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(node.drain(7, 10000).ok());
    if (generation % 5 == 0) {  // the move is called off
      REQUIRE(node.resume(7).ok());
      const std::string more =
          read_exactly(**guest, std::min<std::size_t>(text.size() - got.size(), 1000));
      got += more;
      REQUIRE(node.drain(7, 10000).ok());
    }
    CHECK(node.close(7, generation).ok());
  }
  writer.join();
  CHECK(got == text);
  // And the end is seen wherever it is next.
  auto guest = nodes[0]->attach({7, ++generation, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(nodes[0]->start(7).ok());
  CHECK(read_to_end(**guest).empty());
}

TEST_CASE("a move is called off after its target has attached: the guest goes on where it was") {
  Net net;
  Pipe out, in;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(out.writer)).ok());
  REQUIRE(net.home.export_fd(2, StreamDirection::kGuestReads, std::move(in.reader)).ok());
  StreamTarget source;
  auto writes = source.attach({1, 1, StreamDirection::kGuestWrites, 0, net.dial()});
  auto reads = source.attach({2, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(writes.ok());
  REQUIRE(reads.ok());
  for (const StreamId id : {1, 2}) REQUIRE(source.start(id).ok());
  for (int round = 0; round < 3; ++round) {
    REQUIRE(write_all(*in.writer, "in" + std::to_string(round)));
    for (const StreamId id : {1, 2}) REQUIRE(source.drain(id, 5000).ok());
    StreamTarget target;
    auto copy_writes = target.attach({1, 2, StreamDirection::kGuestWrites, 0, net.dial()});
    auto copy_reads = target.attach({2, 2, StreamDirection::kGuestReads, 0, net.dial()});
    REQUIRE(copy_writes.ok());
    REQUIRE(copy_reads.ok());
    // Long enough for the source to notice and to be refused, in some of the rounds.
    if (round > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    for (const StreamId id : {1, 2}) REQUIRE(source.resume(id).ok());
    // The target's ssid may have died: nobody there closes anything, and its carrier tries again.
    if (round == 1) net.cut();
    CHECK(read_exactly(**reads, 3) == "in" + std::to_string(round));
    REQUIRE(write_all(**writes, "out" + std::to_string(round)));
    CHECK(read_exactly(*out.reader, 4) == "out" + std::to_string(round));
  }
  // It still moves.
  for (const StreamId id : {1, 2}) REQUIRE(source.drain(id, 5000).ok());
  StreamTarget next;
  auto next_writes = next.attach({1, 2, StreamDirection::kGuestWrites, 0, net.dial()});
  auto next_reads = next.attach({2, 2, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(next_writes.ok());
  REQUIRE(next_reads.ok());
  for (const StreamId id : {1, 2}) REQUIRE(next.start(id).ok());
  REQUIRE(write_all(**next_writes, "last"));
  CHECK(read_exactly(*out.reader, 4) == "last");
  REQUIRE(write_all(*in.writer, "end"));
  CHECK(read_exactly(**next_reads, 3) == "end");
}

TEST_CASE("an old generation is refused, and an unknown stream") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget a, b;
  auto first = a.attach({1, 5, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(first.ok());
  const auto old = b.attach({1, 4, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE_FALSE(old.ok());
  CHECK(old.error().code() == ErrorCode::kRefused);
  auto second = b.attach({1, 6, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(second.ok());
  // The first one learns that it is fenced, and its guest does not wait for ever.
  REQUIRE(a.start(1).ok());
  CHECK(comes_within(**first, 0, 5000));
  // (b may take it over with the same generation, after its connection broke.)
  net.cut();
  REQUIRE(write_all(**second, "x"));
  const auto unknown = b.attach({99, 1, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().code() == ErrorCode::kGone);
}

TEST_CASE("a move that is called off when all is read: the end of the file still comes") {
  Net net;
  Pipe at_home;
  REQUIRE(
      net.home.export_fd(1, StreamDirection::kGuestReads, UniqueFd(::dup(*at_home.reader))).ok());
  REQUIRE(::write(*at_home.writer, "all", 3) == 3);
  StreamTarget target;
  auto end = target.attach({1, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(end.ok());
  REQUIRE(target.start(1).ok());
  CHECK(read_exactly(**end, 3) == "all");
  REQUIRE(target.drain(1, 5000).ok());
  at_home.writer.reset();  // home sees the end while the guest stands still
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  net.cut();
  REQUIRE(target.resume(1).ok());
  CHECK(read_to_end(**end).empty());
}
