#include "migrate/fds/fifo.h"

#include <doctest/doctest.h>

namespace ssi::fds {

TEST_CASE("one end of a named pipe becomes a stream, both only where nobody comes any more") {
  CHECK(way_of({}) == FifoWay::kStream);
  CHECK(way_of({.held_by_others = true}) == FifoWay::kStream);
  CHECK(way_of({.nameless = true, .held_by_others = true}) == FifoWay::kStream);
  CHECK(way_of({.both_ends_inside = true}) == FifoWay::kStays);
  CHECK(way_of({.both_ends_inside = true, .nameless = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.nameless = true}) == FifoWay::kTakeAlong);
  CHECK(way_of({.both_ends_inside = true, .nameless = true, .held_by_others = true}) ==
        FifoWay::kStays);
  CHECK(why_fifo_stays({}).empty());
  CHECK(!why_fifo_stays({.both_ends_inside = true}).empty());
}

}  // namespace ssi::fds
