#include "fs/view/lease_step.h"

#include <doctest/doctest.h>

namespace ssi::fs {
namespace {

using What = LeaseStep::What;
constexpr std::uint32_t kNone = F_UNLCK, kRead = F_RDLCK, kWrite = F_WRLCK;

}  // namespace

TEST_CASE("nothing is done while both agree") {
  for (const std::uint32_t type : {kNone, kRead, kWrite}) {
    CHECK(next_lease_step({type, {type, 0}, {type, 0}}) == LeaseStep{});
  }
}

TEST_CASE("home's break is the guest's, whose answer is home's") {
  CHECK(next_lease_step({kWrite, {kWrite, 0}, {kRead, 1}}) == LeaseStep{What::kBreakGuests, kRead});
  CHECK(next_lease_step({kWrite, {kRead, 1}, {kRead, 1}}) == LeaseStep{});
  CHECK(next_lease_step({kWrite, {kRead, 0}, {kRead, 1}}) == LeaseStep{What::kSetHomes, kRead});
  CHECK(next_lease_step({kWrite, {kRead, 1}, {kNone, 1}}) == LeaseStep{What::kBreakGuests, kNone});
  CHECK(next_lease_step({kWrite, {kNone, 1}, {kNone, 1}}) == LeaseStep{});
  CHECK(next_lease_step({kWrite, {kNone, 0}, {kNone, 1}}) == LeaseStep{What::kSetHomes, kNone});
  CHECK(next_lease_step({kWrite, {kNone, 0}, {kRead, 1}}) == LeaseStep{What::kSetHomes, kNone});
}

TEST_CASE("who lets go and takes it anew at once has let go") {
  CHECK(next_lease_step({kWrite, {kWrite, 0}, {kNone, 1}, true}) ==
        LeaseStep{What::kSetHomes, kNone});
  CHECK(next_lease_step({kWrite, {kRead, 1}, {kNone, 1}, true}) ==
        LeaseStep{What::kBreakGuests, kNone});
  CHECK(next_lease_step({kNone, {kWrite, 0}, {kNone, 0}, false}) ==
        LeaseStep{What::kTakeAtHome, kWrite});
}

TEST_CASE("time that was up at home is up for the guest, though nobody waits any more") {
  CHECK(next_lease_step({kWrite, {kWrite, 0}, {kNone, 0}}) == LeaseStep{What::kBreakGuests, kNone});
  CHECK(next_lease_step({kWrite, {kWrite, 0}, {kRead, 0}}) == LeaseStep{What::kBreakGuests, kRead});
  CHECK(next_lease_step({kWrite, {kNone, 1}, {kNone, 0}}) == LeaseStep{});
}

TEST_CASE("what the guest lets go by itself goes at home") {
  CHECK(next_lease_step({kWrite, {kNone, 0}, {kWrite, 0}}) == LeaseStep{What::kSetHomes, kNone});
  CHECK(next_lease_step({kWrite, {kRead, 0}, {kWrite, 0}}) == LeaseStep{What::kSetHomes, kRead});
  // Another guest beside it opens the file: home's is let go when this one has answered.
  CHECK(next_lease_step({kWrite, {kNone, 1}, {kWrite, 0}}) == LeaseStep{});
}

TEST_CASE("what the guest takes anew is asked of home") {
  CHECK(next_lease_step({kNone, {kWrite, 0}, {kNone, 0}}) == LeaseStep{What::kTakeAtHome, kWrite});
  CHECK(next_lease_step({kRead, {kWrite, 0}, {kRead, 0}}) == LeaseStep{What::kTakeAtHome, kWrite});
  CHECK(next_lease_step({kRead, {kWrite, 0}, {kNone, 1}}) == LeaseStep{What::kBreakGuests, kNone});
}

}  // namespace ssi::fs
