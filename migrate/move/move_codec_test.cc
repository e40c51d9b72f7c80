#include "migrate/move/move_codec.h"

#include <doctest/doctest.h>

#include <random>

namespace ssi::migrate {
namespace {

Offer sample() {
  Offer o;
  o.ticket = {.pid = {NodeId{1}, 70041},
              .from = NodeId{1},
              .to = NodeId{2},
              .epoch = Epoch{1},
              .start_time = 77,
              .comm = "xz",
              .exe = "/usr/bin/xz",
              .uid = 1000,
              .parent = 4711,
              .rss_bytes = 1 << 20};
  o.streams = {{5, "pipe:[12]", true, 65536, 0}};
  o.streams[0].also_key = "tty[500:6]";
  o.streams[0].socket = 9;
  o.streams[0].peer_uid = 1000;
  o.streams[0].peer_gid = 1001;
  o.streams[0].fifo_mode = 010640;
  o.holds_files = true;
  return o;
}

}  // namespace

TEST_CASE("an offer comes out as it went in") {
  const auto bytes = encode(sample());
  auto decoded = decode_move(bytes);
  REQUIRE(decoded.ok());
  const auto& o = std::get<Offer>(*decoded);
  CHECK(o.ticket.pid == SsiPid{NodeId{1}, 70041});
  CHECK(o.ticket.exe == "/usr/bin/xz");
  REQUIRE(o.streams.size() == 1);
  CHECK(o.streams[0].key == "pipe:[12]");
  CHECK(o.streams[0].also_key == "tty[500:6]");
  CHECK(o.streams[0].socket == 9);
  CHECK(o.streams[0].peer_uid == 1000);
  CHECK(o.streams[0].peer_gid == 1001);
  CHECK(o.streams[0].fifo_mode == 010640);
  CHECK(o.holds_files);
}

TEST_CASE("what home holds is told with the freeze, within bounds") {
  Frozen frozen;
  frozen.held = {{.id = 0x1234567890abcdef,
                  .key = "file[1f:2a]",
                  .pid = 812,
                  .number = 7,
                  .flags = 02,
                  .position = 1ull << 40,
                  .flock = 2,
                  .locks = {{10, 19, 1, 0}, {30, INT64_MAX, 0, 0}},
                  .name = "/tmp/x",
                  .of_process = true,
                  .lease = {F_RDLCK, 1},
                  .lease_signal = 37,
                  .lease_owner = 811}};
  frozen.ptys = {{.pid = 813,
                  .master = 5,
                  .slave = fds::StillPty::Slave::kClosed,
                  .queues = {{{std::string("a\0\n", 3), fds::PtyInput::End::kCharacter},
                              {"typed", fds::PtyInput::End::kNone}},
                             "out"}}};
  const auto decoded = decode_move(encode(frozen));
  REQUIRE(decoded.ok());
  const auto& held = std::get<Frozen>(*decoded).held;
  REQUIRE(held.size() == 1);
  CHECK(held[0].id == 0x1234567890abcdef);
  CHECK(held[0].key == "file[1f:2a]");
  CHECK(held[0].pid == 812);
  CHECK(held[0].number == 7);
  CHECK(held[0].position == 1ull << 40);
  CHECK(held[0].flock == 2);
  CHECK(held[0].of_process);
  CHECK(held[0].locks == frozen.held[0].locks);
  CHECK(held[0].name == "/tmp/x");
  CHECK(held[0].lease == Lease{F_RDLCK, 1});
  CHECK(held[0].lease_signal == 37);
  CHECK(held[0].lease_owner == 811);
  REQUIRE(std::get<Frozen>(*decoded).ptys.size() == 1);
  const fds::MovedPty& pty = std::get<Frozen>(*decoded).ptys[0];
  CHECK(pty.pid == 813);
  CHECK(pty.master == 5);
  CHECK(pty.slave == fds::StillPty::Slave::kClosed);
  CHECK(pty.queues.input == frozen.ptys[0].queues.input);
  CHECK(pty.queues.output == "out");
  frozen.ptys[0].queues.output.resize(fds::kPtyOutputMax + 1);
  CHECK(!decode_move(encode(frozen)).ok());
  frozen.ptys.clear();
  frozen.held[0].lease.type = F_UNLCK + 1;
  CHECK(!decode_move(encode(frozen)).ok());
  frozen.held[0].lease = {};
  frozen.held[0].locks.resize(kLockRangesMax + 1);
  CHECK(!decode_move(encode(frozen)).ok());
  frozen.held[0].locks.clear();
  frozen.held.resize(fds::kHeldFilesMax + 1);
  CHECK(!decode_move(encode(frozen)).ok());
  CHECK(std::get<Frozen>(*decode_move(encode(Frozen{}))).held.empty());
}

TEST_CASE("a socket that listens, and the connections that came by it") {
  Offer offer = sample();
  offer.streams = {{.id = 7,
                    .key = "socket:[44]",
                    .generation = 3,
                    .address = std::string("\0a\0b", 4),
                    .pid = 812,
                    .number = 5}};
  const auto read = std::get<Offer>(*decode_move(encode(offer))).streams;
  REQUIRE(read.size() == 1);
  CHECK(read[0].listens());
  CHECK(read[0].address == std::string("\0a\0b", 4));
  CHECK(read[0].pid == 812);
  CHECK(read[0].number == 5);
  CHECK(!std::get<Offer>(*decode_move(encode(sample()))).streams[0].listens());
  for (const std::string& wrong : {std::string("no/root"), std::string(5000, '/')}) {
    offer.streams[0].address = wrong;
    CHECK(!decode_move(encode(offer)).ok());
  }
  Frozen frozen;
  frozen.streams.resize(1000);
  frozen.streams[999].socket = 77;
  const auto came = std::get<Frozen>(*decode_move(encode(frozen))).streams;
  REQUIRE(came.size() == 1000);
  CHECK(came[999].socket == 77);
  frozen.streams.resize(5000);
  CHECK(!decode_move(encode(frozen)).ok());
}

TEST_CASE("an image file can't name a path") {
  const std::vector<std::uint8_t> data{1, 2, 3};
  CHECK(decode_move(encode(ImageFile{"core-1.img", 0, data})).ok());
  for (const char* name : {"", ".", "..", "../x", "/etc/passwd", "a/b"}) {
    CAPTURE(name);
    CHECK(!decode_move(encode(ImageFile{name, 0, data})).ok());
  }
}

TEST_CASE("a damaged message is refused or read, never worse") {
  std::mt19937 random(7);
  const auto good = encode(sample());
  for (int round = 0; round < 50000; ++round) {
    auto bytes = good;
    for (int i = 0; i < 4; ++i)
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    bytes.resize(1 + random() % bytes.size());
    (void)decode_move(bytes);
  }
}

}  // namespace ssi::migrate
