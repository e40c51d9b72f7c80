#include "migrate/fds/fifo.h"

#include <doctest/doctest.h>

namespace ssi::fds {

TEST_CASE("an end of a named pipe becomes a stream, O_RDWR goes along if nobody else has it") {
  CHECK(way_of({}) == FifoWay::kStream);
  CHECK(way_of({.held_by_others = true}) == FifoWay::kStream);
  CHECK(way_of({.nameless = true, .held_by_others = true}) == FifoWay::kStream);
  CHECK(way_of({.both_directions = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.both_directions = true, .held_by_others = true}) == FifoWay::kStays);
  CHECK(way_of({.both_directions = true, .not_there = true}) == FifoWay::kStays);
  CHECK(way_of({.both_directions = true, .nameless = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.nameless = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.unread = true, .nameless = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.both_directions = true, .nameless = true, .held_by_others = true}) ==
        FifoWay::kStays);
  CHECK(why_fifo_stays({}, "").empty());
  CHECK(why_fifo_stays({.both_directions = true}, "").empty());
  CHECK(why_fifo_stays({.both_directions = true, .held_by_others = true}, "7 (cat)")
            .find("7 (cat)") != std::string::npos);
  CHECK(why_fifo_stays({.both_directions = true, .not_there = true}, "").find("/dev") !=
        std::string::npos);
}

TEST_CASE(
    "one that nobody reads stays, for a stream would take what the process is to be refused") {
  CHECK(way_of({.unread = true}) == FifoWay::kStays);
  CHECK(why_fifo_stays({.unread = true}, "").find("nobody reads") != std::string::npos);
}

TEST_CASE("both ends of a named pipe have names of their own, which lead back to criu's") {
  const std::string in = key_of_fifo_end("file[1f:2a]", false);
  const std::string out = key_of_fifo_end("file[1f:2a]", true);
  CHECK(in != out);
  CHECK(criu_key_of_fifo(in) == "file[1f:2a]");
  CHECK(criu_key_of_fifo(out) == "file[1f:2a]");
  CHECK(inode_of_fifo(in) == 0x2a);
  CHECK(inode_of_fifo(out) == 0x2a);
  CHECK(inode_of_fifo("file[1f:700000001]") == 1);
  for (const char* bad : {"", "file[1f", "file[1f:2a", "file[1f:]", "pipe:[42]x"}) {
    CHECK_FALSE(inode_of_fifo(bad) == 0x2a);
  }
}

}  // namespace ssi::fds
