#include "ssid/wire/frame.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

namespace ssi {
namespace {

constexpr FrameLimit kLimits[] = {{.type = 1, .bytes_max = 100}, {.type = 7, .bytes_max = 5000}};

std::vector<std::byte> filled(std::size_t bytes, int value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}
void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

TEST_CASE("a header is read back as it was written") {
  const FrameHeader header{.type = 7, .length = 0x1234};
  auto bytes = serialise_frame_header(header);
  CHECK(bytes[0] == std::byte{'S'});
  CHECK(bytes[8] == std::byte{0x34});
  CHECK(parse_frame_header(bytes, kLimits).value() == header);
}

TEST_CASE("wrong magic, version, type or length is refused from the header alone") {
  const auto good = serialise_frame_header({.type = 1, .length = 100});
  CHECK(parse_frame_header(good, kLimits).ok());
  for (const std::size_t at : {0u, 3u, 4u, 6u}) {
    auto bad = good;
    bad[at] ^= std::byte{0x40};
    CAPTURE(at);
    CHECK(!parse_frame_header(bad, kLimits).ok());
  }
  CHECK(!parse_frame_header(serialise_frame_header({.type = 1, .length = 101}), kLimits).ok());
  CHECK(!parse_frame_header(serialise_frame_header({.type = 7, .length = ~0u}), kLimits).ok());
  CHECK(!parse_frame_header(good, {}).ok());
}

TEST_CASE("frames come out whole, however the stream is cut") {
  std::vector<std::byte> stream;
  for (int i = 0; i < 20; ++i)
    append(stream, serialise_frame(i % 2 == 0 ? 1 : 7, filled(static_cast<std::size_t>(i * 5), i)));
  for (const std::size_t piece : {1u, 3u, 11u, 12u, 13u, 500u, 10000u}) {
    CAPTURE(piece);
    FrameReader reader(kLimits);
    int taken = 0;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.add(std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
      Frame frame;
      for (;;) {
        auto more = reader.take(frame);
        REQUIRE(more.ok());
        if (!*more) break;
        CHECK(frame.payload == filled(static_cast<std::size_t>(taken * 5), taken));
        ++taken;
      }
    }
    CHECK(taken == 20);
    CHECK(!reader.partial());
  }
}

TEST_CASE("a reader that met garbage stays broken") {
  FrameReader reader(kLimits);
  reader.add(bytes_of("GET / HTTP/1.1\r\n"));
  Frame frame;
  CHECK(!reader.take(frame).ok());
  reader.add(serialise_frame(1, {}));
  CHECK(!reader.take(frame).ok());
  CHECK(reader.bytes_held() == 0);
}

// Streams of good frames, some bytes of which are changed, dropped, doubled or cut off. Repeat with
// SSID_FUZZ_SEED=N SSID_FUZZ_ROUNDS=1.
TEST_CASE("no mutation of a stream makes the reader crash, hang or hold more than its limit") {
  const char* given = std::getenv("SSID_FUZZ_SEED");
  const char* count = std::getenv("SSID_FUZZ_ROUNDS");
  const unsigned first = given == nullptr ? 1u : static_cast<unsigned>(std::atoi(given));
  const int rounds = count == nullptr ? 20'000 : std::atoi(count);
  std::printf("frame fuzz: SSID_FUZZ_SEED=%u SSID_FUZZ_ROUNDS=%d\n", first, rounds);
  for (unsigned seed = first; seed < first + static_cast<unsigned>(rounds); ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
    std::vector<std::byte> stream;
    for (std::size_t i = below(6); i > 0; --i) {
      const bool big = below(4) == 0;
      append(stream, serialise_frame(big ? 7 : 1, filled(below(big ? 5001 : 101), 3)));
    }
    const std::size_t whole = stream.size();
    bool changed = false;
    for (std::size_t i = below(4); i > 0 && !stream.empty(); --i) {
      changed = true;
      const auto at = stream.begin() + static_cast<std::ptrdiff_t>(below(stream.size()));
      switch (below(5)) {
        case 0:
          *at ^= static_cast<std::byte>(1u << below(8));
          break;
        case 1:
          *at = static_cast<std::byte>(random() & 0xff);
          break;
        case 2:
          stream.erase(at);
          break;
        case 3:
          stream.insert(at, static_cast<std::byte>(random() & 0xff));
          break;
        default:
          stream.resize(below(stream.size()));
      }
    }
    FrameReader reader(kLimits);
    std::size_t taken_bytes = 0;
    bool broken = false;
    for (std::size_t at = 0; at < stream.size() && !broken;) {
      const std::size_t piece = std::min(1 + below(700), stream.size() - at);
      reader.add(std::span(stream).subspan(at, piece));
      at += piece;
      Frame frame;
      for (;;) {
        auto more = reader.take(frame);
        broken = !more.ok();
        if (broken || !*more) break;
        REQUIRE(frame.payload.size() <= (frame.type == 1 ? 100u : 5000u));
        taken_bytes += kFrameHeaderBytes + frame.payload.size();
      }
      REQUIRE(reader.bytes_held() <= 5000 + kFrameHeaderBytes + 700);
    }
    REQUIRE(taken_bytes <= stream.size());
    if (!changed) REQUIRE((taken_bytes == whole && !broken && !reader.partial()));
  }
}

}  // namespace ssi
