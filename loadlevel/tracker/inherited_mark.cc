#include "loadlevel/tracker/inherited_mark.h"

#include "ssid/base/proc_status.h"
#include "ssid/base/timer_slack.h"

namespace ssi {
namespace {

constexpr int kRounds_max = 16;

bool set_of_threads(pid_t pid, bool on) {
  bool changed = false;
  for (const pid_t thread : threads_of(pid)) {
    const auto slack = timer_slack_ns(thread);
    if (!slack || is_marked(*slack) == on) continue;
    changed |= set_timer_slack_ns(thread, with_mark(*slack, on));
  }
  return changed;
}

}  // namespace

bool has_inherited_mark(pid_t pid) {
  const auto slack = timer_slack_ns(pid);
  return slack && is_marked(*slack);
}

// Real-time threads take none, and would be tried for ever.
void set_inherited_mark(pid_t pid, bool on) {
  for (int round = 0; round < kRounds_max && set_of_threads(pid, on); ++round) {
  }
}

}  // namespace ssi
