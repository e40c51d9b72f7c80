#include "migrate/check/unit_root.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

namespace ssi::check {
namespace {

// A child, and a child of that, which is the user's, share memory as told; ends with this.
struct Family {
  pid_t child = 0, below = 0;
  volatile pid_t* grandchild = nullptr;

  explicit Family(bool with_us, uid_t user = 0) {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    grandchild = static_cast<pid_t*>(at);
    child = ::fork();
    if (child == 0) {
      const pid_t pid = ::fork();
      if (pid == 0 && (user == 0 || ::setuid(user) == 0)) *grandchild = ::getpid();
      for (;;) ::pause();
    }
    while (*grandchild == 0) ::usleep(1000);
    below = *grandchild;
    if (!with_us) forget();
  }
  ~Family() {
    ::kill(below, SIGKILL);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    forget();
  }
  // We do not share it any more, nor does who comes after them.
  void forget() {
    if (grandchild != nullptr) ::munmap(const_cast<pid_t*>(grandchild), 4096);
    grandchild = nullptr;
  }
};

}  // namespace

pid_t unit_root(pid_t pid) {
  return check::unit_root(pid, [](pid_t) { return false; });
}

TEST_CASE("a unit begins with the topmost process that shares memory with those below it") {
  const Family apart(false);
  CHECK(unit_root(apart.below) == apart.child);
  CHECK(unit_root(apart.child) == apart.child);
  const Family with_us(true);
  CHECK(unit_root(with_us.below) == ::getpid());
  CHECK(unit_root(::getpid()) == ::getpid());
}

TEST_CASE("a parent that is another user's") {
  const Family family(false, 1234);
  CHECK(unit_root(family.below) == family.below);
  std::vector<pid_t> asked;
  const auto may_be = [&](pid_t parent) {
    asked.push_back(parent);
    return true;
  };
  CHECK(check::unit_root(family.below, may_be) == family.child);
  CHECK(asked == std::vector<pid_t>{family.child});
}

TEST_CASE("who shares memory with those below it can't leave them") {
  const Family apart(false);
  CHECK(shares_memory_below(apart.child));  // the two of it, with each other
  CHECK_FALSE(shares_memory_below(apart.below));
  CHECK_FALSE(shares_memory_below(::getpid()));
  const Family with_us(true);
  CHECK(shares_memory_below(::getpid()));
}

TEST_CASE("a process that is gone is its own") {
  CHECK(unit_root(4'000'000) == 4'000'000);
  CHECK_FALSE(shares_memory_below(4'000'000));
}

}  // namespace ssi::check
