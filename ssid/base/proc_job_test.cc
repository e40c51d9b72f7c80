#include "ssid/base/proc_job.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "ssid/base/unique_fd.h"

using namespace ssi;

TEST_CASE("group, session, terminal and its foreground group are read") {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(master);
  REQUIRE(::unlockpt(*master) == 0);
  const UniqueFd terminal(::open(::ptsname(*master), O_RDWR | O_NOCTTY | O_CLOEXEC));
  struct stat st;
  REQUIRE(::fstat(*terminal, &st) == 0);
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    ::ioctl(*terminal, TIOCSCTTY, 0);
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char c;
  REQUIRE(::read(ready[0], &c, 1) == 1);
  const auto job = proc_job(pid);
  REQUIRE(job);
  CHECK(job->group == pid);
  CHECK(job->session == pid);
  CHECK(job->terminal == st.st_rdev);
  CHECK(job->foreground == pid);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  CHECK_FALSE(proc_job(pid));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("one without a terminal has none") {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    ::raise(SIGSTOP);
  }
  REQUIRE(::waitpid(pid, nullptr, WUNTRACED) == pid);
  const auto job = proc_job(pid);
  REQUIRE(job);
  CHECK(job->terminal == 0);
  CHECK(job->foreground == -1);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}
