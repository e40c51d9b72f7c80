#include "migrate/pages/uffd_helper.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
  const auto open = opener();
  std::mt19937 random(1);
  for (int round = 0; round < 150; ++round) {
    const pid_t pid = sleeper();
    const pid_t asker = ::fork();
    if (asker == 0) ::_exit(open(pid).ok() ? 0 : 1);
    ::usleep(static_cast<useconds_t>(random() % 6000));
    ::kill(asker, SIGKILL);
    ::waitpid(asker, nullptr, 0);
    ::usleep(8000);
    INFO("round ", round);
    // Its helper may still be at work.
    for (int i = 0; i < 500 && !is_left_alone(pid); ++i) ::usleep(10000);
    CHECK(is_left_alone(pid));
    int status = 0;
    REQUIRE(::waitpid(pid, &status, WNOHANG) == 0);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}
