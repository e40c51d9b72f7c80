#include "migrate/check/unit_root.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ssi::check {
namespace {

// A child, and a child of that, which share memory as told; ends with this.
struct Family {
  pid_t child = 0;
  volatile pid_t* grandchild = nullptr;

  explicit Family(bool with_us) {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    grandchild = static_cast<pid_t*>(at);
    child = ::fork();
    if (child == 0) {
      const pid_t pid = ::fork();
      if (pid != 0) *grandchild = pid;
      for (;;) ::pause();
    }
    while (*grandchild == 0) ::usleep(1000);
    if (!with_us) {
      const pid_t pid = *grandchild;
      ::munmap(at, 4096);
      alone = pid;
    }
  }
  ~Family() {
    ::kill(below(), SIGKILL);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    if (alone == 0) ::munmap(const_cast<pid_t*>(grandchild), 4096);
  }
  pid_t below() const { return alone != 0 ? alone : *grandchild; }
  pid_t alone = 0;
};

}  // namespace

TEST_CASE("a unit begins with the topmost process that shares memory with those below it") {
  const Family apart(false);
  CHECK(unit_root(apart.below()) == apart.child);
  CHECK(unit_root(apart.child) == apart.child);
  const Family with_us(true);
  CHECK(unit_root(with_us.below()) == ::getpid());
  CHECK(unit_root(::getpid()) == ::getpid());
}

TEST_CASE("who shares memory with those below it can't leave them") {
  const Family apart(false);
  CHECK(shares_memory_below(apart.child));  // the two of it, with each other
  CHECK_FALSE(shares_memory_below(apart.below()));
  CHECK_FALSE(shares_memory_below(::getpid()));
  const Family with_us(true);
  CHECK(shares_memory_below(::getpid()));
}

TEST_CASE("a process that is gone is its own") {
  CHECK(unit_root(4'000'000) == 4'000'000);
  CHECK_FALSE(shares_memory_below(4'000'000));
}

}  // namespace ssi::check
