#include "migrate/fds/pidfd.h"

#include <doctest/doctest.h>
#include <fcntl.h>

namespace ssi::fds {

TEST_CASE("whom a handle is for stands in fdinfo") {
  CHECK(pidfd_target(
            "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t9\nPid:\t4711\nNSpid:\t4711\n") == 4711);
  CHECK(pidfd_target("Pid:\t-1\nNSpid:\t-1\n") == -1);
  CHECK(pidfd_target("flags:\t02\nNSpid:\t12\n") == 0);
}

TEST_CASE("a handle on itself goes along, one on another does not") {
  CHECK(!pidfd_why_not(4711, O_RDWR | O_CLOEXEC, {4711}));
  CHECK(!pidfd_why_not(-1, O_RDWR, {4711}));
  CHECK(pidfd_why_not(12, O_RDWR, {4711}) == "of process 12, which stays");
  CHECK(pidfd_why_not(0, O_RDWR, {4711}) == "of a process that can't be seen from here");
  CHECK(pidfd_why_not(4711, O_RDWR | O_EXCL, {4711}) == "of one thread");
}

}  // namespace ssi::fds
