#include "migrate/deputy/filter_check.h"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ssi::deputy {
namespace {

void filter(long number, std::uint32_t action) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog all{static_cast<unsigned short>(std::size(program)), program};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all);
}

void forbid(long number) { filter(number, SECCOMP_RET_KILL_PROCESS); }

// What is said of a child that has prepared itself; and it goes on after that.
std::string said_of(const std::function<void()>& prepare, const std::function<void()>& then,
                    bool has_deputy = false) {
  int ready[2], asked[2], done[2];
  REQUIRE((pipe(ready) == 0 && pipe(asked) == 0 && pipe(done) == 0));
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prepare();
    char byte = 0;
    (void)!write(ready[1], &byte, 1);
    (void)!read(asked[0], &byte, 1);
    then();
    (void)!write(done[1], &byte, 1);
    for (;;) (void)!read(asked[0], &byte, 1);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const auto result = check_filters(pid, has_deputy);
  REQUIRE(write(asked[1], &byte, 1) == 1);
  CHECK(read(done[0], &byte, 1) == 1);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  for (const int fd : {ready[0], ready[1], asked[0], asked[1], done[0], done[1]}) close(fd);
  return result ? "" : result.error().message();
}

void nothing() {}

}  // namespace

TEST_CASE("a process without a filter, or with harmless ones, can be a deputy; it goes on") {
  CHECK(said_of(nothing, nothing) == "");
  CHECK(said_of([] { forbid(SYS_ptrace), forbid(SYS_setresuid); }, [] { getppid(); }) == "");
}

TEST_CASE("whichever of its filters forbids something, that is said") {
  const std::string why =
      "it runs under a system call filter (seccomp) that may forbid its deputy to call sendto(2)";
  CHECK(said_of([] { forbid(SYS_sendto); }, nothing) == why);
  CHECK(said_of([] { forbid(SYS_sendto), forbid(SYS_ptrace); }, nothing) == why);
  CHECK(said_of([] { forbid(SYS_ptrace), forbid(SYS_sendto); }, nothing) == why);
  CHECK(said_of([] { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); }, nothing) ==
        "it runs under a system call filter (seccomp) of the strict kind, under which a deputy can "
        "do nothing");
}

TEST_CASE("a guest has its deputy; what criu can't restore is a reason all the same") {
  CHECK(said_of([] { forbid(SYS_sendto); }, nothing, true) == "");
  CHECK(said_of([] { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); }, nothing, true) == "");
  const auto ask = [] { filter(SYS_ptrace, SECCOMP_RET_USER_NOTIF); };
  for (const bool has_deputy : {false, true}) {
    CHECK(said_of(ask, nothing, has_deputy) ==
          "it runs under a system call filter (seccomp) that leaves calls to another process to "
          "decide");
  }
}

TEST_CASE("a process that is gone is no process with a filter") {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  waitpid(pid, nullptr, 0);
  CHECK(check_filters(pid, false).error().code() == ErrorCode::kGone);
}

}  // namespace ssi::deputy
