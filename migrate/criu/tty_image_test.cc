#include "migrate/criu/tty_image.h"

#include <doctest/doctest.h>

#include <cstring>

#include "criu_images.pb.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

std::string entry(const std::string& bytes) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string framed(sizeof size, '\0');
  std::memcpy(framed.data(), &size, sizeof size);
  return framed + bytes;
}

}  // namespace

TEST_CASE("a pseudo-terminal that moves with its session keeps it") {
  image::tty_info_entry terminal;
  terminal.set_type(1);
  terminal.set_sid(70'000);
  terminal.set_pgrp(70'001);
  const std::string image = "magic123" + entry(terminal.SerializeAsString());
  const auto changed = without_outer_sessions(image);
  REQUIRE(changed.ok());
  CHECK(*changed == image);
}

TEST_CASE("terminals lose their session, and nothing else") {
  image::tty_info_entry terminal;
  terminal.set_type(5);
  terminal.set_sid(70'000);
  terminal.set_pgrp(70'001);
  // Field 8, the device: unknown to us.
  const std::string image = "magic123" + entry(terminal.SerializeAsString() + "\x40\x05");
  const auto changed = without_outer_sessions(image);
  REQUIRE(changed.ok());
  CHECK(changed->substr(0, 8) == "magic123");
  image::tty_info_entry read;
  REQUIRE(read.ParseFromString(changed->substr(12)));
  CHECK(read.sid() == 0);
  CHECK(read.pgrp() == 0);
  CHECK(read.SerializeAsString().ends_with("\x40\x05"));
}

TEST_CASE("an image that is damaged is refused") {
  CHECK_FALSE(without_outer_sessions("short").ok());
  CHECK_FALSE(without_outer_sessions("magic123" + std::string("\x10\0\0\0x", 5)).ok());
  CHECK_FALSE(without_outer_sessions("magic123\xff\xff").ok());
}
