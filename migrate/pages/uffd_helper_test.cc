#include "migrate/pages/uffd_helper.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "ssid/base/proc_status.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

OpenUserfaultfd opener() { return userfaultfd_by(SSID_UFFD_PROGRAM); }

pid_t sleeper() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::usleep(1000);
  }
  return pid;
}

// Reaps those that have ended; are there others than this one?
bool has_other_children(pid_t pid) {
  siginfo_t ended{};
  while (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
    if (ended.si_pid == pid) return false;  // the caller asks for it
    ::waitpid(ended.si_pid, nullptr, 0);
  }
  std::ifstream children("/proc/thread-self/children");
  for (pid_t child = 0; children >> child;) {
    if (child != pid) return true;
  }
  return false;
}

bool is_left_alone(pid_t pid) {
  return proc_status_line(pid, "SigBlk").ends_with("0000000000000000") &&
         proc_status_line(pid, "TracerPid").ends_with("\t0");
}

}  // namespace

TEST_CASE("the helper hands over a userfaultfd, or says why not") {
  const pid_t pid = sleeper();
  const auto fd = opener()(pid);
  REQUIRE(fd.ok());
  CHECK(**fd >= 0);
  CHECK(::kill(pid, SIGKILL) == 0);
  CHECK(::waitpid(pid, nullptr, 0) == pid);
  const auto gone = opener()(pid);
  REQUIRE_FALSE(gone.ok());
  CHECK(gone.error().code() == ErrorCode::kGone);
  CHECK_FALSE(userfaultfd_by("/nonexistent")(::getpid()).ok());
}

TEST_CASE("whoever asks is killed at any moment: the process goes on as it was") {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // what it leaves behind is ours then
  const auto open = opener();
  std::mt19937 random(1);
  for (int round = 0; round < 150; ++round) {
    const pid_t pid = sleeper();
    const pid_t asker = ::fork();
    if (asker == 0) ::_exit(open(pid).ok() ? 0 : 1);
    ::usleep(static_cast<useconds_t>(random() % 6000));
    ::kill(asker, SIGKILL);
    ::waitpid(asker, nullptr, 0);
    INFO("round ", round);
    // Its helper may still be at work, or wait for a CPU.
    for (int i = 0; i < 15000 && has_other_children(pid); ++i) ::usleep(2000);
    INFO("SigBlk", proc_status_line(pid, "SigBlk"), ", TracerPid",
         proc_status_line(pid, "TracerPid"));
    CHECK(is_left_alone(pid));
    int status = 0;
    REQUIRE(::waitpid(pid, &status, WNOHANG) == 0);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}
