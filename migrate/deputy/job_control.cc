#include "migrate/deputy/job_control.h"

#include <signal.h>

#include <utility>

namespace ssi::deputy {

std::optional<JobControl::Action> JobControl::on_guest_stopped(int signo) {
  if (signo == SIGSTOP && std::exchange(stop_expected_, false)) return {};
  if (asked_ || deputy_stopped_) return {};
  asked_ = true;
  return Action{Act::kStopDeputy, signo};
}

std::optional<JobControl::Action> JobControl::on_guest_continued() {
  stop_expected_ = false;
  if (asked_ || deputy_stopped_) return Action{Act::kContinueDeputy};
  return {};
}

std::optional<JobControl::Action> JobControl::on_deputy_stopped(bool stopped_now) {
  if (asked_ || !stopped_now || deputy_stopped_) return {};
  deputy_stopped_ = true;
  stop_expected_ = true;
  return Action{Act::kStopGuest};
}

void JobControl::on_deputy_continued() { deputy_stopped_ = false; }

std::optional<JobControl::Action> JobControl::on_stop_ended(const StopEnded& ended) {
  asked_ = false;
  deputy_stopped_ = false;
  // The kernel does not stop orphaned process groups: nobody could continue them.
  if (ended.was_stopped == 0) return Action{Act::kContinueGuest};
  return {};
}

void JobControl::on_signal(const Signal& signal) {
  if (signal.signo == SIGCONT) deputy_stopped_ = false;
}

}  // namespace ssi::deputy
