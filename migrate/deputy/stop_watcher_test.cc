#include "migrate/deputy/stop_watcher.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <memory>

#include "migrate/deputy/test_support.h"

namespace ssi::deputy {
namespace {

using namespace testing;

std::vector<StopReport> next_reports(StopWatcher& watcher, int timeout_ms = 5000) {
  if (!wait_readable(watcher.event_fd(), timeout_ms)) return {};
  return watcher.take();
}

bool is_report(const std::vector<StopReport>& reports, pid_t pid, StopReport::Kind kind,
               int signo) {
  return reports.size() == 1 && reports[0].pid == pid && reports[0].kind == kind &&
         reports[0].signo == signo;
}

using Kind = StopReport::Kind;

}  // namespace

TEST_CASE("stop and continue are seen by the watcher and by the real parent") {
  StopWatcher watcher;
  Family family({"/bin/sleep", "1000"});
  const pid_t pid = family.child();
  REQUIRE(watcher.watch(pid).ok());
  REQUIRE(watcher.watch(pid).ok());
  for (int signo : {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGSTOP}) {
    CAPTURE(signo);
    ::kill(pid, signo);
    CHECK(family.heard() == "stopped " + std::to_string(signo));
    CHECK(is_report(next_reports(watcher), pid, Kind::kStopped, signo));
    CHECK(is_stopped(pid));
    ::kill(pid, SIGCONT);
    CHECK(family.heard() == "continued");
    CHECK(is_report(next_reports(watcher), pid, Kind::kContinued, 0));
    CHECK(eventually([&] { return !is_stopped(pid); }));
  }
  ::kill(pid, SIGTERM);
  CHECK(family.heard() == "killed 15");
  CHECK(is_report(next_reports(watcher), pid, Kind::kGone, 0));
  CHECK(watcher.watch(pid).error().code() == ErrorCode::kGone);
}

TEST_CASE("one that is stopped already is reported, and the parent does not hear it twice") {
  StopWatcher watcher;
  Family family({"/bin/sleep", "1000"});
  ::kill(family.child(), SIGSTOP);
  CHECK(family.heard() == "stopped 19");
  REQUIRE(watcher.watch(family.child()).ok());
  CHECK(is_report(next_reports(watcher), family.child(), Kind::kStopped, SIGSTOP));
  CHECK(family.heard(20).empty());
}

TEST_CASE("watcher ends: a stopped process stays stopped, a running one runs") {
  Family stopped({"/bin/sleep", "1000"});
  Family running({"/bin/sleep", "1000"});
  {
    StopWatcher watcher;
    REQUIRE(watcher.watch(stopped.child()).ok());
    REQUIRE(watcher.watch(running.child()).ok());
    ::kill(stopped.child(), SIGSTOP);
    CHECK(stopped.heard() == "stopped 19");
  }
  CHECK(eventually([&] { return is_stopped(stopped.child()); }));
  CHECK(eventually([&] { return !is_stopped(running.child()); }));
  CHECK(stopped.heard(20).empty());
  ::kill(stopped.child(), SIGCONT);
  CHECK(stopped.heard() == "continued");
  ::kill(running.child(), SIGKILL);
  CHECK(running.heard() == "killed 9");
}

TEST_CASE("unwatch lets go, stopped or running") {
  StopWatcher watcher;
  Family family({"/bin/sleep", "1000"});
  REQUIRE(watcher.watch(family.child()).ok());
  watcher.unwatch(family.child());
  const std::string status = "/proc/" + std::to_string(family.child()) + "/status";
  CHECK(eventually([&] { return read_file(status).find("TracerPid:\t0") != std::string::npos; }));
  REQUIRE(watcher.watch(family.child()).ok());
  ::kill(family.child(), SIGSTOP);
  CHECK(family.heard() == "stopped 19");
  watcher.unwatch(family.child());
  CHECK(eventually([&] { return read_file(status).find("TracerPid:\t0") != std::string::npos; }));
  CHECK(eventually([&] { return is_stopped(family.child()); }));
}

TEST_CASE("fifty at once, a hundred stops each way, none lost") {
  StopWatcher watcher;
  std::vector<std::unique_ptr<Family>> families;
  for (int i = 0; i < 50; ++i) {
    families.push_back(std::make_unique<Family>(std::vector<std::string>{"/bin/sleep", "1000"}));
    REQUIRE(watcher.watch(families.back()->child()).ok());
  }
  for (int round = 0; round < 100; ++round) {
    Family& family = *families[static_cast<std::size_t>(round) % families.size()];
    ::kill(family.child(), SIGSTOP);
    CHECK(is_report(next_reports(watcher), family.child(), Kind::kStopped, SIGSTOP));
    CHECK(family.heard() == "stopped 19");
    ::kill(family.child(), SIGCONT);
    CHECK(is_report(next_reports(watcher), family.child(), Kind::kContinued, 0));
    CHECK(family.heard() == "continued");
  }
}

}  // namespace ssi::deputy
