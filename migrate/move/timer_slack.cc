#include "migrate/move/timer_slack.h"

#include <algorithm>

#include "ssid/base/proc_status.h"
#include "ssid/base/timer_slack.h"

namespace ssi::migrate {

std::vector<TimerSlack> timer_slacks_of(std::span<const pid_t> pids) {
  std::vector<TimerSlack> slacks;
  for (const pid_t pid : pids) {
    if (const auto ns = timer_slack_ns(pid)) slacks.push_back({innermost_pid(pid), *ns});
  }
  return slacks;
}

void set_timer_slacks(std::span<const pid_t> pids, std::span<const TimerSlack> slacks) {
  for (const pid_t pid : pids) {
    const auto slack = std::ranges::find(slacks, innermost_pid(pid), &TimerSlack::pid);
    if (slack == slacks.end() || timer_slack_ns(pid) == slack->ns) continue;
    for (const pid_t thread : threads_of(pid)) (void)set_timer_slack_ns(thread, slack->ns);
  }
}

}  // namespace ssi::migrate
