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
