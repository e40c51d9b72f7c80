#include "ssid/base/process_handle.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

namespace ssi {
namespace {

// A child that only waits; killed and reaped at the end of the test.
struct Child {
  pid_t pid;
  Child() : pid(::fork()) {
    if (pid == 0) {
      for (;;) ::pause();
    }
  }
  ~Child() { end(); }
  void end() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
};

}  // namespace

TEST_CASE("a process is held until it ends, and is gone afterwards") {
  Child child;
  auto held = ProcessHandle::open(child.pid);
  REQUIRE(held.ok());
  CHECK(held->pid() == child.pid);
  CHECK(held->alive());
  CHECK(held->signal(0).ok());
  REQUIRE(held->signal(SIGKILL).ok());
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT) == 0);
  CHECK(!held->alive());  // a zombie
  child.end();
  CHECK(!held->alive());
  auto sent = held->signal(0);
  REQUIRE(!sent.ok());
  CHECK(sent.error().code() == ErrorCode::kGone);
}

TEST_CASE("two handles on a process are the same process, two processes are not") {
  Child a, b;
  auto held_a = ProcessHandle::open(a.pid);
  auto held_b = ProcessHandle::open(b.pid);
  REQUIRE((held_a.ok() && held_b.ok()));
  CHECK(held_a->same_process(ProcessHandle::open(a.pid).value()));
  CHECK(held_a->same_process(held_a->duplicate().value()));
  CHECK(!held_a->same_process(*held_b));
  CHECK(!ProcessHandle().same_process(ProcessHandle()));
}

TEST_CASE("a pidfd names its process") {
  Child child;
  auto held = ProcessHandle::open(child.pid);
  REQUIRE(held.ok());
  auto again = ProcessHandle::from_pidfd(UniqueFd(::fcntl(held->pidfd(), F_DUPFD_CLOEXEC, 0)));
  REQUIRE(again.ok());
  CHECK(again->same_process(*held));
  CHECK(!ProcessHandle::from_pidfd(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC))).ok());
}

TEST_CASE("a process that does not exist is gone, a wrong number is wrong usage") {
  Child child;
  const pid_t pid = child.pid;
  child.end();
  auto gone = ProcessHandle::open(pid);
  REQUIRE(!gone.ok());
  CHECK(gone.error().code() == ErrorCode::kGone);
  CHECK(ProcessHandle::open(0).error().code() == ErrorCode::kUsage);
  CHECK(ProcessHandle::open(-1).error().code() == ErrorCode::kUsage);
}

TEST_CASE("the start time is found behind any command name") {
  const char* rest = " S 1 5 5 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 98765 1 2";
  CHECK(parse_start_ticks(std::string("5 (sh)") + rest).value() == 98765);
  CHECK(parse_start_ticks(std::string("5 (a) b (c) 1 2)") + rest).value() == 98765);
  CHECK(!parse_start_ticks("").ok());
  CHECK(!parse_start_ticks("5 (sh) S 1 5").ok());
  CHECK(!parse_start_ticks("5 (sh) S 1 5 5 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 x").ok());
}

}  // namespace ssi
