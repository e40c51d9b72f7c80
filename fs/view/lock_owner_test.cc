#include "fs/view/lock_owner.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

namespace ssi::fs {
namespace {

// A lock that another open file has makes the thread wait in the kernel, as for a view's answer.
LockOwner seen_while_it_waits(int command) {
  char path[] = "/tmp/ssid-lock-owner-XXXXXX";
  const int holder = ::mkstemp(path);
  const int other = ::open(path, O_RDWR | O_CLOEXEC);
  ::unlink(path);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  REQUIRE(::fcntl(holder, F_OFD_SETLK, &lock) == 0);
  std::atomic<pid_t> waiter{0};
  std::thread waiting([&] {
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    waiter = static_cast<pid_t>(::syscall(SYS_gettid));
    CHECK(::fcntl(other, command, &wanted) == 0);
  });
  while (waiter == 0) std::this_thread::yield();
  const LockOwner owner = lock_owner_of(waiter);
  ::close(holder);
  waiting.join();
  ::close(other);
  return owner;
}

}  // namespace

TEST_CASE("who is to own a lock is read from the call in which it is asked for") {
  CHECK(seen_while_it_waits(F_OFD_SETLKW) == LockOwner::kOpenFile);
  CHECK(seen_while_it_waits(F_SETLKW) == LockOwner::kProcess);
}

TEST_CASE("another call, or none, says nothing") {
  CHECK(!lock_owner_in("running\n"));
  CHECK(!lock_owner_in("0 0x3 0x25 0x0 0x0 0x0 0x0 0x7ffe 0x7f00\n"));
  CHECK(!lock_owner_in("72 0x3 0x4 0x0 0x0 0x0 0x0 0x7ffe 0x7f00\n"));
  CHECK(!lock_owner_in(""));
}

}  // namespace ssi::fs
