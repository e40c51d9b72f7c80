#include "loadlevel/tracker/inherited_mark.h"

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "ssid/base/proc_status.h"

using namespace ssi;

TEST_CASE("a mark changes a slack by less than a microsecond, and comes off again") {
  for (const std::uint64_t slack : {50'000ULL, 1ULL, 999ULL, 123'456'789ULL}) {
    CHECK(is_marked(with_mark(slack, true)));
    CHECK(with_mark(slack, true) < slack + 1000);
    CHECK_FALSE(is_marked(with_mark(with_mark(slack, true), false)));
  }
  CHECK_FALSE(is_marked(50'000));
  CHECK_FALSE(has_inherited_mark(999999999));
}

TEST_CASE("the kernel hands it on: of each thread, to children and what they execute") {
  std::promise<void> end;
  std::thread other([wait = end.get_future()] { wait.wait(); });
  set_inherited_mark(::getpid(), true);
  for (const pid_t thread : threads_of(::getpid())) CHECK(has_inherited_mark(thread));
  const auto child_has = [] { return std::system("grep -q '417$' /proc/self/timerslack_ns") == 0; };
  CHECK(child_has());
  // What both leave behind at once.
  const pid_t left = ::fork();
  if (left == 0) ::_exit(has_inherited_mark(::getpid()) ? 0 : 1);
  int status = -1;
  ::waitpid(left, &status, 0);
  CHECK(status == 0);
  set_inherited_mark(::getpid(), false);
  for (const pid_t thread : threads_of(::getpid())) CHECK_FALSE(has_inherited_mark(thread));
  CHECK_FALSE(child_has());
  end.set_value();
  other.join();
}
