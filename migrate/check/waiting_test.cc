#include "migrate/check/waiting.h"

#include <doctest/doctest.h>

namespace ssi::check {
namespace {

std::string list(const std::string& line) { return "  sl  local_address ...\n" + line + "\n"; }
constexpr const char* kRest = " 00:00000000 00000000     0        0 ";

}  // namespace

TEST_CASE("whoever waits to be accepted is seen, at the process's own sockets") {
  const auto queue =
      list(std::string("0: 00000000:1B58 00000000:0000 0A 00000000:00000002") + kRest + "77 1");
  CHECK(anybody_waits_in(queue, {.inodes = {77}, .ports = {7000}}));
  CHECK(!anybody_waits_in(queue, {.inodes = {78}, .ports = {7001}}));
  const auto empty =
      list(std::string("0: 00000000:1B58 00000000:0000 0A 00000000:00000000") + kRest + "77 1");
  CHECK(!anybody_waits_in(empty, {.inodes = {77}, .ports = {7000}}));
}

TEST_CASE("a connection that is half made is seen") {
  const auto half =
      list(std::string("0: 0100007F:1B58 0100007F:A028 03 00000000:00000000") + kRest + "0 1");
  CHECK(anybody_waits_in(half, {.inodes = {77}, .ports = {7000}}));
  CHECK(!anybody_waits_in(half, {.inodes = {77}, .ports = {7001}}));
}

}  // namespace ssi::check
