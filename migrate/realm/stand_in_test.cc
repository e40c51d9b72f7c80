#include "migrate/realm/stand_in.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ssid/base/proc_status.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

// In criu's place a program that says who its parent is, and ends with the status that it is told.
struct Fixture {
  Fixture() {
    char pattern[] = "/tmp/ssid-stand-in-XXXXXX";
    dir = ::mkdtemp(pattern);
    std::ofstream(dir + "/ld.so") << "#!/bin/sh\necho $PPID >&3\nread status <&3\nexit $status\n";
    ::chmod((dir + "/ld.so").c_str(), 0755);
    int last = 0;
    std::ifstream("/proc/sys/kernel/pid_max") >> last;
    // Several of us may run at the same time.
    free_pid = last - 1 - ::getpid() % 20000;
    while (::kill(free_pid, 0) == 0) --free_pid;
  }
  ~Fixture() { std::filesystem::remove_all(dir); }

  std::string dir;
  pid_t free_pid = 0;
};

struct Child {
  explicit Child(StandIn& stand_in) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    socket.reset(pair[0]);
    const UniqueFd there(pair[1]), null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const int fds[] = {*null, *there, *null};
    const auto started = stand_in.spawn(fds);
    REQUIRE(started.ok());
    pid = *started;
  }
  pid_t parent() const {
    char text[32] = {};
    REQUIRE(::read(*socket, text, sizeof text - 1) > 0);
    return std::atoi(text);
  }
  void end(const std::string& status) const {
    REQUIRE(::write(*socket, (status + "\n").data(), status.size() + 1) > 0);
  }

  UniqueFd socket;
  pid_t pid = 0;
};

ChildChange next_change(StandIn& stand_in) {
  for (int i = 0; i < 100; ++i) {
    bool open = true;
    if (const auto change = stand_in.next(open)) return *change;
    REQUIRE(open);
    pollfd ready{stand_in.fd(), POLLIN, 0};
    ::poll(&ready, 1, 100);
  }
  FAIL("nothing was said");
  return {};
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "it has the PID that is wished for, and tells how its children end") {
  pid_t pid = 0;
  {
    auto stand_in = StandIn::start(free_pid, dir);
    REQUIRE(stand_in.ok());
    CHECK_FALSE(stand_in->has_children());
    const Child first(*stand_in), second(*stand_in);
    pid = first.parent();
    CHECK(pid == free_pid);
    CHECK(second.parent() == free_pid);
    CHECK(::getsid(first.pid) == free_pid);
    CHECK(::getpgid(first.pid) == first.pid);
    CHECK(::getpgid(second.pid) == second.pid);

    first.end("7");
    ChildChange change = next_change(*stand_in);
    CHECK(change.pid == first.pid);
    CHECK(WEXITSTATUS(change.status) == 7);
    REQUIRE(::kill(second.pid, SIGTSTP) == 0);  // no orphan: there is who could continue it
    change = next_change(*stand_in);
    CHECK(change.pid == second.pid);
    CHECK(WIFSTOPPED(change.status));
    REQUIRE(::kill(second.pid, SIGKILL) == 0);
    while (!WIFSIGNALED(change.status)) change = next_change(*stand_in);
    CHECK(WTERMSIG(change.status) == SIGKILL);
    CHECK(next_change(*stand_in).pid == 0);
    CHECK_FALSE(stand_in->has_children());

    const Child third(*stand_in);
    CHECK(stand_in->has_children());
    third.end("0");
    CHECK(next_change(*stand_in).pid == third.pid);
  }
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

TEST_CASE_FIXTURE(Fixture, "where the PID is taken it has another") {
  auto first = StandIn::start(free_pid, dir);
  auto second = StandIn::start(free_pid, dir);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  const Child child(*second);
  const pid_t parent = child.parent();
  CHECK(parent != free_pid);
  child.end("0");
  first = Error("done");
  second = Error("done");
  CHECK(::waitpid(free_pid, nullptr, 0) == free_pid);
  CHECK(::waitpid(parent, nullptr, 0) == parent);
}

TEST_CASE_FIXTURE(Fixture, "one that is killed is noticed, and asked nothing more") {
  auto stand_in = StandIn::start(free_pid, dir);
  REQUIRE(stand_in.ok());
  const Child child(*stand_in);
  REQUIRE(child.parent() == free_pid);
  REQUIRE(::kill(free_pid, SIGKILL) == 0);
  REQUIRE(::waitpid(free_pid, nullptr, 0) == free_pid);
  bool open = true;
  CHECK_FALSE(stand_in->next(open));
  CHECK_FALSE(open);
  CHECK_FALSE(stand_in->put_in_foreground(child.pid, child.pid).ok());
  child.end("0");
}
