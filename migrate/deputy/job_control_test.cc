#include "migrate/deputy/job_control.h"

#include <doctest/doctest.h>
#include <signal.h>

namespace ssi::deputy {
namespace {

using Act = JobControl::Act;

std::optional<JobControl::Action> act(Act what, int signo = 0) {
  return JobControl::Action{what, signo};
}
const std::optional<JobControl::Action> kNothing;

StopEnded ended(bool was_stopped) {
  StopEnded message;
  message.was_stopped = was_stopped ? 1 : 0;
  return message;
}

Signal sigcont() {
  Signal signal;
  signal.signo = SIGCONT;
  return signal;
}

}  // namespace

TEST_CASE("Ctrl-Z and fg: the guest stops, the deputy follows, and neither answers twice") {
  JobControl jobs;
  for (int round = 0; round < 3; ++round) {
    CHECK(jobs.on_guest_stopped(SIGTSTP) == act(Act::kStopDeputy, SIGTSTP));
    CHECK(jobs.on_deputy_stopped(true) == kNothing);  // our own doing
    CHECK(jobs.on_stop_ended(ended(true)) == kNothing);
    jobs.on_signal(sigcont());
    jobs.on_deputy_continued();
    CHECK(jobs.on_guest_continued() == kNothing);
  }
}

TEST_CASE("kill -STOP and -CONT at home") {
  JobControl jobs;
  for (int round = 0; round < 3; ++round) {
    CHECK(jobs.on_deputy_stopped(true) == act(Act::kStopGuest));
    CHECK(jobs.on_guest_stopped(SIGSTOP) == kNothing);
    jobs.on_deputy_continued();
    jobs.on_signal(sigcont());
    CHECK(jobs.on_guest_continued() == kNothing);
  }
  CHECK(jobs.on_guest_stopped(SIGTSTP) == act(Act::kStopDeputy, SIGTSTP));
}

TEST_CASE("a late report of a stop that is over stops nothing") {
  JobControl jobs;
  jobs.on_signal(sigcont());
  CHECK(jobs.on_deputy_stopped(false) == kNothing);
}

TEST_CASE("stopped and continued at home before the realm tells of the stop") {
  JobControl jobs;
  CHECK(jobs.on_deputy_stopped(true) == act(Act::kStopGuest));
  jobs.on_signal(sigcont());
  CHECK(jobs.on_guest_stopped(SIGSTOP) == kNothing);
  CHECK(jobs.on_guest_continued() == kNothing);
}

TEST_CASE("continued from within the realm: the deputy follows") {
  JobControl jobs;
  CHECK(jobs.on_guest_stopped(SIGSTOP) == act(Act::kStopDeputy, SIGSTOP));
  CHECK(jobs.on_guest_continued() == act(Act::kContinueDeputy));
  CHECK(jobs.on_stop_ended(ended(true)) == kNothing);
}

TEST_CASE("orphaned process group: the deputy can't stop, the guest goes on") {
  JobControl jobs;
  CHECK(jobs.on_guest_stopped(SIGTTIN) == act(Act::kStopDeputy, SIGTTIN));
  CHECK(jobs.on_stop_ended(ended(false)) == act(Act::kContinueGuest));
  CHECK(jobs.on_guest_continued() == kNothing);
}

}  // namespace ssi::deputy
