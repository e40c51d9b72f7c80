#include "migrate/check/check.h"

#include <doctest/doctest.h>

namespace ssi::check {
namespace {

ProcessFacts plain() {
  ProcessFacts facts;
  facts.name = {4711, "job"};
  facts.exe = "/usr/bin/job";
  facts.cwd = "/";
  return facts;
}

std::string reason(const ProcessFacts& facts, const CheckContext& context = {}) {
  const auto refusal = check(facts, context);
  return refusal ? refusal->reason() : "";
}

}  // namespace

TEST_CASE("nothing special: it can be moved") { CHECK(!check(plain(), {})); }

TEST_CASE("each reason in plain words") {
  auto facts = plain();
  SUBCASE("kernel thread") {
    facts.kernel_thread = true;
    CHECK(reason(facts) == "it is a thread of the kernel");
  }
  SUBCASE("zombie") {
    facts.state = 'Z';
    CHECK(reason(facts) == "it has ended already and waits for its parent (zombie)");
    facts.threads = 3;
    CHECK(reason(facts) == "its main thread has ended and only others still run");
  }
  SUBCASE("32 bits") {
    facts.elf_bits = 32;
    CHECK(reason(facts) == "it is a 32-bit program; only 64-bit ones can be moved");
  }
  SUBCASE("children") {
    facts.children = {{4712, "a"}};
    CHECK(reason(facts) == "it has 1 child process and trees can't be moved yet: 4712 (a)");
    facts.children = {{1, "a"}, {2, "b"}, {3, "c"}, {4, "d"}, {5, "e"}};
    CHECK(reason(facts) ==
          "it has 5 child processes and trees can't be moved yet: 1 (a), 2 (b), 3 (c) and 2 more");
    facts.vfork_child = true;
    CHECK(reason(facts).ends_with("which still runs in its memory (vfork)"));
  }
  SUBCASE("debugger") {
    facts.tracer = {99, "gdb"};
    CHECK(reason(facts) == "it is traced by a debugger, process 99 (gdb)");
  }
  SUBCASE("seccomp") {
    facts.seccomp_mode = 2;
    CHECK(reason(facts) == "it runs under a system call filter (seccomp)");
  }
  SUBCASE("container and chroot, but not for a guest in its realm") {
    facts.other_root = true;
    CHECK(reason(facts) == "it has a root directory of its own (chroot)");
    facts.other_namespaces = {"pid", "mnt"};
    CHECK(reason(facts) == "it runs in a container: its namespaces differ from ssid's (pid, mnt)");
    CHECK(reason(facts, {.is_guest = true}).empty());
  }
  SUBCASE("shared memory, only if somebody shares it") {
    facts.shared_memory = {{.what = "anonymous shared memory", .inode = 1, .writable = true}};
    CHECK(reason(facts).empty());
    facts.shared_memory[0].sharers = {{5000, "postgres"}};
    CHECK(reason(facts) ==
          "it shares memory with process 5000 (postgres): anonymous shared memory");
  }
  SUBCASE("replaced program") {
    facts.exe_deleted = true;
    CHECK(reason(facts) == "its program file /usr/bin/job was deleted or replaced");
  }
  SUBCASE("tiny limits") {
    facts.stack_limit_kb = 8;
    CHECK(reason(facts) == "its stack limit (8 kB) is too small to leave a deputy behind");
  }
  SUBCASE("ssid itself") {
    facts.exe = "/usr/lib/ssid/ssid";
    CHECK(reason(facts) == "it is a part of ssid itself");
  }
}

TEST_CASE("descriptors: what moves, and what does not with its number and what it is") {
  auto facts = plain();
  for (FdKind kind :
       {FdKind::kRegular, FdKind::kDirectory, FdKind::kPipe, FdKind::kNullLike, FdKind::kEventfd,
        FdKind::kSignalfd, FdKind::kTimerfd, FdKind::kEpoll, FdKind::kMemfd}) {
    facts.fds.push_back({.number = 3, .kind = kind});
  }
  CHECK(reason(facts).empty());
  facts.fds = {{.number = 5,
                .kind = FdKind::kInetSocket,
                .target = "socket:[1]",
                .details = "tcp 10.77.0.1:41000 -> 10.77.0.2:80"}};
  CHECK(reason(facts) ==
        "fd 5 is an open network connection (tcp 10.77.0.1:41000 -> 10.77.0.2:80)");
  facts.fds[0].details = "tcp 0.0.0.0:80";
  facts.fds[0].listening = true;
  CHECK(reason(facts) == "fd 5 is a listening network socket (tcp 0.0.0.0:80)");
  facts.fds = {{.number = 3, .kind = FdKind::kPtyMaster, .target = "/dev/ptmx"}};
  CHECK(reason(facts) == "fd 3 is the inner side of a terminal (a pty master) (/dev/ptmx)");
  facts.fds = {{.number = 7, .kind = FdKind::kIoUring, .target = "anon_inode:[io_uring]"}};
  CHECK(reason(facts) == "fd 7 is an io_uring");
  facts.fds = {{.number = 8, .kind = FdKind::kOther, .target = "anon_inode:[secret]"}};
  CHECK(reason(facts) == "fd 8 is of a kind that can't be moved (anon_inode:[secret])");
  facts.fds = {{.number = 9,
                .kind = FdKind::kMemfd,
                .target = "/memfd:x (deleted)",
                .holders = {{6, "other"}}}};
  CHECK(reason(facts) ==
        "fd 9 is a memory file (/memfd:x (deleted)) that process 6 (other) has open, too");
}

TEST_CASE("all reasons are listed, the most basic first; the table of kinds can be changed") {
  auto facts = plain();
  facts.children = {{1, "a"}};
  facts.fds = {{.number = 0, .kind = FdKind::kDevice, .target = "/dev/x"},
               {.number = 1, .kind = FdKind::kDevice, .target = "/dev/x"}};
  const auto refusal = check(facts, {});
  REQUIRE(refusal);
  CHECK(refusal->reasons.size() == 3);
  CHECK(refusal->reason().starts_with("it has 1 child"));
  CheckContext context;
  context.fds.kinds[static_cast<std::size_t>(FdKind::kDevice)] = true;
  CHECK(check(facts, context)->reasons.size() == 1);
}

}  // namespace ssi::check
