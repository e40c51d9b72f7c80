#include "migrate/deputy/deputy_host.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>

namespace ssi::deputy {
namespace {

template <typename Message>
std::vector<std::byte> bytes_of(const Message& message) {
  const auto* begin = reinterpret_cast<const std::byte*>(&message);
  return {begin, begin + sizeof message};
}

}  // namespace

TEST_CASE("a deputy's messages are read as they were sent") {
  Signal signal;
  signal.sequence = 12;
  signal.signo = 15;
  signal.sender_pid = 4711;
  const auto parsed = parse(bytes_of(signal));
  REQUIRE(parsed.ok());
  CHECK(std::get<Signal>(*parsed).sender_pid == 4711);
  Hello hello;
  hello.epoch = 3;
  CHECK(std::get<Hello>(*parse(bytes_of(hello))).epoch == 3);
}

TEST_CASE("wrong size, version, type or signal is refused") {
  Signal signal;
  signal.sequence = 1;
  signal.signo = 15;
  const auto good = bytes_of(signal);
  REQUIRE(parse(good).ok());
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK(!parse(std::span(good).first(size)).ok());
  }
  auto longer = good;
  longer.push_back(std::byte{0});
  CHECK(!parse(longer).ok());
  for (std::size_t at = 0; at < sizeof(Header); ++at) {
    auto bad = good;
    bad[at] ^= std::byte{0x80};
    CHECK(!parse(bad).ok());
  }
  for (int signo : {0, -1, 65, 1 << 30}) {
    signal.signo = signo;
    CHECK(!parse(bytes_of(signal)).ok());
  }
  CHECK(!parse(encode(Exit{})).ok());  // not a message that a deputy sends
}

TEST_CASE("random packets: read or refused, nothing else") {
  std::mt19937 random(1);
  for (int round = 0; round < 100000; ++round) {
    std::vector<std::byte> packet(random() % (kMessageBytesMax + 2));
    for (auto& byte : packet) byte = static_cast<std::byte>(random());
    if (packet.size() >= sizeof(Header) && round % 2 == 0) {
      Header header{.type = static_cast<Type>(random() % 70)};
      std::memcpy(packet.data(), &header, sizeof header);
    }
    (void)parse(packet);
  }
}

}  // namespace ssi::deputy
