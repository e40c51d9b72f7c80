#include "ssid/wire/carrier/carrier_messages.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;

TEST_CASE("a message comes back as it was") {
  AttachStream stream;
  stream.id = 0x1122334455667788;
  stream.generation = 3;
  stream.direction = CarrierDirection::kGuestReads;
  stream.capacity = 65536;
  stream.home = {2, {"10.0.0.2", "fd00::2"}, 4711};
  const CarrierBytes bytes = encode_request(CarrierOp::kAttachStream, stream);
  std::span<const std::byte> rest;
  const auto op = decode_op(bytes, rest);
  REQUIRE(op.ok());
  CHECK(*op == CarrierOp::kAttachStream);
  const auto back = decode_message<AttachStream>(rest);
  REQUIRE(back.ok());
  CHECK(back->id == stream.id);
  CHECK(back->home.addresses == stream.home.addresses);
  CHECK(back->home.port == 4711);
  CHECK_FALSE(decode_message<AttachStream>(rest.first(rest.size() - 1)).ok());
  CHECK_FALSE(decode_message<UnmountView>(rest).ok());
}

TEST_CASE("a rebuild of sockets says where, who, and whether it begins") {
  for (const bool on : {true, false}) {
    const RebuildSockets wanted{"/run/ssid/view/2", "/sys/fs/cgroup/ssid/guests/2-70041-3", on};
    const CarrierBytes bytes = encode_request(CarrierOp::kRebuildSockets, wanted);
    std::span<const std::byte> rest;
    const auto op = decode_op(bytes, rest);
    REQUIRE(op.ok());
    CHECK(static_cast<std::uint32_t>(*op) == 23);
    const auto back = decode_message<RebuildSockets>(rest);
    REQUIRE(back.ok());
    CHECK(*back == wanted);
    CHECK_FALSE(decode_message<RebuildSockets>(rest.first(rest.size() - 1)).ok());
  }
}

TEST_CASE("a reply carries its error") {
  const auto reply = decode_carrier_reply(encode_error(Error(ErrorCode::kRefused, "no")));
  REQUIRE_FALSE(reply.ok());
  CHECK(reply.error().code() == ErrorCode::kRefused);
  CHECK(reply.error().message() == "no");
  CHECK(decode_carrier_reply(encode_ok()).ok());
}

TEST_CASE("rubbish is an error, never more") {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    CarrierBytes bytes(random() % 64);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random() % 3 == 0 ? random() : 0);
    (void)decode_message<AttachStream>(bytes).ok();
    (void)decode_message<ViewList>(bytes).ok();
    (void)decode_message<RebuildSockets>(bytes).ok();
    (void)decode_carrier_reply(bytes).ok();
  }
}
