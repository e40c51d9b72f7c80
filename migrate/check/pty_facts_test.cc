#include "migrate/check/pty_facts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "migrate/check/test_subject.h"

namespace ssi::check {
namespace {

int open_master() {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  int unlocked = 0;
  ioctl(master, TIOCSPTLCK, &unlocked);
  return master;
}

int open_slave(int master) { return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY); }

// Its session's first, with a terminal of its own.
int open_own_terminal() {
  setsid();
  const int master = open_master();
  ioctl(open_slave(master), TIOCSCTTY, 0);
  return master;
}

const FdFact& fact(const ProcessFacts& facts, FdKind kind) {
  for (const FdFact& fd : facts.fds) {
    if (fd.kind == kind) return fd;
  }
  FAIL("it has none of that kind");
  return facts.fds.front();
}

bool has_other_users(const Subject& subject) {
  const auto refusal = check(subject.facts(), {});
  return refusal && std::ranges::any_of(refusal->reasons, [](const std::string& reason) {
           return reason.find("(a pty master)") != std::string::npos &&
                  reason.ends_with(" uses, too");
         });
}

constexpr pid_t kParent = 100, kChild = 101;

FdFact side(FdKind kind, int number, int pty) {
  FdFact fd;
  fd.number = number;
  fd.kind = kind;
  fd.pty = fds::PtyName{7, pty};
  return fd;
}

}  // namespace

TEST_CASE("both sides of a terminal are the process's own") {
  const Subject subject([] { open_slave(open_master()); });
  const auto facts = subject.facts();
  CHECK(subject.reason() == "");
  const FdFact& slave = fact(facts, FdKind::kTty);
  CHECK(slave.pty_inside);
  CHECK(slave.pty == fact(facts, FdKind::kPtyMaster).pty);
  const auto ptys = ptys_to_move({facts});
  REQUIRE(ptys.size() == 1);
  CHECK(ptys[0] == fds::PtyToMove{subject.pid(), fact(facts, FdKind::kPtyMaster).number, true});
}

TEST_CASE("who else has a side of it keeps it where it is") {
  const UniqueFd master(open_master());
  // Its copy of the master was closed with all others; it opens one more slave by the number.
  char slave[64];
  REQUIRE(ptsname_r(*master, slave, sizeof slave) == 0);
  const Subject stranger([&] { open(slave, O_RDWR | O_NOCTTY); });
  CHECK_FALSE(fact(stranger.facts(), FdKind::kTty).pty_inside);
  CHECK(stranger.reason() == "");  // as the terminal of a job

  const Subject both([] {
    const int own = open_master();
    char name[64];
    ptsname_r(own, name, sizeof name);
    if (fork() == 0) {
      close(own);
      open(name, O_RDWR | O_NOCTTY);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(1000);
      for (;;) pause();
    }
    usleep(50'000);
  });
  CHECK(has_other_users(both));
}

TEST_CASE("its own controlling terminal, by the name of /dev/tty, too") {
  const Subject subject([] {
    open_own_terminal();
    open("/dev/tty", O_RDWR);
  });
  const auto facts = subject.facts();
  CHECK(subject.reason() == "");
  CHECK(fact(facts, FdKind::kPtyMaster).session == subject.pid());
  CHECK(fact(facts, FdKind::kControllingTty).pty_inside);
}

TEST_CASE("one that controls a session of others stays") {
  const Subject subject([] {
    const int master = open_master();
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setsid();
      const int slave = open_slave(master);
      ioctl(slave, TIOCSCTTY, 0);
      close(slave);
      close(master);
      close(1000);
      for (;;) pause();
    }
    usleep(50'000);
  });
  CHECK(has_other_users(subject));
}

TEST_CASE("an exclusive one is not carried") {
  const Subject subject([] { ioctl(open_slave(open_master()), TIOCEXCL); });
  CHECK(subject.reason().ends_with("(TIOCEXCL), which would be forgotten"));
}

TEST_CASE("sides in several processes that move as one") {
  Tree tree(2);
  tree[0].name = {kParent, "script"};
  tree[1].name = {kChild, "sh"};
  tree[0].fds = {side(FdKind::kPtyMaster, 3, 1)};
  tree[0].fds[0].session = kChild;
  tree[1].fds = {side(FdKind::kTty, 0, 1), side(FdKind::kTty, 5, 2),
                 side(FdKind::kControllingTty, 6, 1)};
  tree[1].fds[2].pty.reset();
  tree[1].fds[2].session = kChild;
  pair_pty_sides(tree);
  CHECK(tree[1].fds[0].pty_inside);
  CHECK_FALSE(tree[1].fds[1].pty_inside);
  CHECK_FALSE(tree[1].fds[2].why_not.empty());
  const auto ptys = ptys_to_move(tree);
  REQUIRE(ptys.size() == 1);
  CHECK(ptys[0] == fds::PtyToMove{kParent, 3, true});
}

TEST_CASE("users of a terminal: by either side, or by its session") {
  std::vector<FdFact> fds{side(FdKind::kPtyMaster, 3, 1)};
  fds[0].session = kParent;
  find_users_of_ptys({{fds::PtyName{7, 1}}, 1}, {900, "a"}, fds);
  find_users_of_ptys({{fds::PtyName{8, 1}}, 1}, {901, "b"}, fds);
  find_users_of_ptys({{}, kParent}, {902, "c"}, fds);
  CHECK(fds[0].holders == std::vector<ProcessName>{{900, "a"}, {902, "c"}});
}

}  // namespace ssi::check
