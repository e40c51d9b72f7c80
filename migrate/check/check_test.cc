#include "migrate/check/check.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

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
    CHECK(reason(facts) ==
          "it has 1 child process, which only `migrate --tree` moves along: 4712 (a)");
    facts.children = {{1, "a"}, {2, "b"}, {3, "c"}, {4, "d"}, {5, "e"}};
    CHECK(reason(facts) ==
          "it has 5 child processes, which only `migrate --tree` moves along: 1 (a), 2 (b), 3 (c) "
          "and 2 more");
    facts.vfork_child = true;
    CHECK(reason(facts).ends_with("which still runs in its memory (vfork)"));
    CHECK(check(facts, {})->passes);
    facts.tracer = {99, "gdb"};
    CHECK_FALSE(check(facts, {})->passes);
  }
  SUBCASE("debugger") {
    facts.tracer = {99, "gdb"};
    CHECK(reason(facts) == "it is traced by a debugger, process 99 (gdb)");
  }
  SUBCASE("chroot, if that directory is gone") {
    facts.root_deleted = true;
    CHECK(reason(facts) == "its root directory (chroot) was deleted");
  }
  SUBCASE("container, but not for a guest in its realm") {
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
  SUBCASE("tiny limits") {
    facts.stack_limit_kb = 8;
    CHECK(reason(facts) == "its stack limit (8 kB) is too small to leave a deputy behind");
  }
  SUBCASE("ssid itself") {
    facts.exe = "/usr/lib/ssid/ssid";
    CHECK(reason(facts) == "it is a part of ssid itself");
  }
}

TEST_CASE("a datagram that waits, whose sender has a name: it may be read soon") {
  auto facts = plain();
  facts.fds = {{.number = 5, .kind = FdKind::kUnixSocket, .details = "@log", .named_at = "log"}};
  facts.fds[0].named_sender = true;
  const auto refusal = check(facts, {});
  REQUIRE(refusal);
  CHECK(refusal->passes);
  CHECK(refusal->reason() ==
        "fd 5 is a unix socket (@log) with an unread datagram whose sender's name would be "
        "forgotten");
  CHECK_FALSE(check(facts, {.is_guest = true}));  // home's carrier sent it
  facts.fds[0].named_at.clear();
  CHECK(check(facts, {.is_guest = true}));
}

TEST_CASE("unix sockets: who is at the other end, who has it, what is on its way") {
  auto facts = plain();
  facts.fds = {{.number = 5, .kind = FdKind::kUnixSocket, .details = "unnamed"}};
  CHECK(reason(facts).empty());
  FdFact& fd = facts.fds[0];
  SUBCASE("another process at the other end") {
    fd.peers = {77};
    CHECK(reason(facts).empty());  // it is relayed
    fd.in_flight = true;
    CHECK(reason(facts) ==
          "fd 5 has in its queue a unix socket (unnamed) connected with what can't be seen from "
          "here");
    fd.in_flight = false;
    fd.why_not_relayed = "by messages, which are not relayed yet";
    CHECK(
        reason(facts) ==
        "fd 5 is a unix socket (unnamed) connected with what can't be seen from here, by messages, "
        "which are not relayed yet");
    fd.peer_holders = {{6, "syslogd"}};
    CHECK(reason(facts) ==
          "fd 5 is a unix socket (unnamed) connected with process 6 (syslogd), by messages, which "
          "are "
          "not relayed yet");
  }
  SUBCASE("another process has it, too") {
    fd.holders = {{6, "other"}};
    CHECK(reason(facts) == "fd 5 is a unix socket (unnamed) that process 6 (other) has open, too");
  }
  SUBCASE("its name") {
    fd.details = "/run/x.sock";
    fd.why_not = "that others reach by its name";
    CHECK(reason(facts) == "fd 5 is a unix socket (/run/x.sock) that others reach by its name");
  }
  SUBCASE("descriptors on their way to it") {
    facts.fds.push_back({.number = 5, .kind = FdKind::kRegular, .in_flight = true});
    CHECK(reason(facts).empty());
    facts.fds[1] = {.number = 5,
                    .kind = FdKind::kPipe,
                    .target = "pipe:[9]",
                    .other_end_inside = true,
                    .in_flight = true};
    CHECK(reason(facts).empty());
    facts.fds[1].other_end_inside = false;
    CHECK(reason(facts) == "fd 5 has in its queue a pipe (pipe:[9])");
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
  facts.fds[0].protocol = "TCP";
  facts.fds[0].socket = net::MovedSocket{.local = {"0.0.0.0", 80}};
  CHECK(reason(facts).empty());
  facts.fds[0].holders = {{6, "other"}};
  CHECK(reason(facts) ==
        "fd 5 is a listening network socket (tcp 0.0.0.0:80) that process 6 (other) has open, too");
  facts.fds = {{.number = 4, .kind = FdKind::kInetSocket, .protocol = "TCPv6"}};
  CHECK(reason(facts).empty());
  facts.fds = {{.number = 4, .kind = FdKind::kInetSocket, .protocol = "RAW"}};
  CHECK(reason(facts) == "fd 4 is a network socket (RAW) that gets packets of all of this machine");
  for (const char* protocol : {"UDP-Lite", "UDPLITEv6", "PING", "PINGv6"}) {
    facts.fds = {{.number = 4, .kind = FdKind::kInetSocket, .protocol = protocol}};
    CHECK_MESSAGE(reason(facts).empty(), protocol);
  }
  facts.fds[0].details = "icmp6 [::]:5";
  CHECK(reason(facts) ==
        "fd 4 is a network socket (icmp6 [::]:5) that has a number for its pings, which it can't "
        "keep");
  facts.fds = {{.number = 4,
                .kind = FdKind::kInetSocket,
                .details = "tcp6 [fe80::1]:80",
                .listening = true,
                .protocol = "TCPv6"}};
  CHECK(reason(facts) ==
        "fd 4 is a listening network socket (tcp6 [fe80::1]:80) of an IPv6 address that only this "
        "network segment knows");
  facts.fds[0].details = "tcp6 [::]:80";
  facts.fds[0].socket = net::MovedSocket{.local = {"*", 80}};
  CHECK(reason(facts).empty());
  facts.fds = {{.number = 3, .kind = FdKind::kPtyMaster, .target = "/dev/ptmx"}};
  CHECK(reason(facts).empty());
  facts.fds[0].holders = {{812, "sh"}};
  CHECK(reason(facts) ==
        "fd 3 is the inner side of a terminal (a pty master) (/dev/ptmx) that process 812 (sh) "
        "uses, too");
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
  facts.fds = {{.number = 200, .kind = FdKind::kMemfd, .target = "/memfd:ssi:pin (deleted)"}};
  CHECK(reason(facts) == "it has pinned itself where it is for now (ssi_pin)");
}

TEST_CASE("files: a name, a flock() lock or none at all do not keep one; the rest is said") {
  auto facts = plain();
  facts.fds = {{.number = 3, .kind = FdKind::kDeletedFile, .target = "/tmp/x (deleted)"},
               {.number = 4, .kind = FdKind::kRegular, .locks = {.flock = 2}},
               {.number = 5, .kind = FdKind::kPathOnly, .mode = S_IFDIR},
               {.number = 6, .kind = FdKind::kFifo, .target = "/tmp/fifo"}};
  facts.exe_deleted = facts.cwd_deleted = true;
  CHECK(reason(facts).empty());
  facts.fds[3].flags = O_RDWR;
  CHECK(reason(facts).empty());
  facts.fds[3].holders = {{7, "other"}};
  CHECK(reason(facts) ==
        "fd 6 is a named pipe opened for reading and writing at once (O_RDWR) that process "
        "7 (other) has open, too (/tmp/fifo)");
  facts.fds[3].holders.clear();
  facts.fds[3].nameless = true;
  CHECK(reason(facts).empty());
}

TEST_CASE("an end of a named pipe: who writes needs somebody who reads, inside or at home") {
  auto facts = plain();
  facts.fds = {{.number = 6, .kind = FdKind::kFifo, .flags = O_WRONLY, .target = "/tmp/fifo"}};
  CHECK(reason(facts) == "fd 6 is a named pipe to write to that nobody reads now (/tmp/fifo)");
  facts.fds[0].readers = {{7, "reader"}};
  CHECK(reason(facts).empty());
  facts.fds[0].readers.clear();
  facts.fds[0].other_end_inside = true;
  CHECK(reason(facts).empty());
}

TEST_CASE("files: locks that are a process's, and what a path handle is on") {
  auto facts = plain();
  facts.cwd_deleted = true;
  facts.fds = {{.number = 4,
                .kind = FdKind::kRegular,
                .target = "/x",
                .locks = {.of_process = {{0, 9, 1, 0}}}}};
  CHECK(reason(facts).empty());
  CheckContext guest;
  guest.is_guest = true;
  CHECK(reason(facts, guest) ==
        "fd 4 is a file (/x) with a record lock for writing (fcntl), which can't be handed over "
        "without a gap");
  facts.fds = {{.number = 5, .kind = FdKind::kPathOnly, .target = "/x", .mode = S_IFSOCK}};
  CHECK(reason(facts) ==
        "fd 5 is a path handle (O_PATH) of something that is no file, directory or link (/x)");
  facts.fds = {{.number = 3, .kind = FdKind::kDeletedFile, .target = "/SYSV00000000 (deleted)"}};
  CHECK(reason(facts) == "fd 3 is a handle on System V shared memory (/SYSV00000000 (deleted))");
  facts.fds.clear();
  facts.cwd = "/proc/12/fd";
  facts.cwd_of_kernel = true;
  CHECK(reason(facts) ==
        "its working directory /proc/12/fd was one of this machine's kernel and is gone");
  facts.cwd = "/proc/12";
  CHECK(reason(facts) == "");
  facts.cwd_pid_used_again = true;
  CHECK(reason(facts) ==
        "its working directory /proc/12 was one of this machine's kernel and is gone");
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
