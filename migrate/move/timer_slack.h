// Timer slack (prctl(2), PR_SET_TIMERSLACK), which criu does not carry. A process inherits it from
// the thread that forks, over exec too; so the load-level mark is in it
// (loadlevel/tracker/inherited_mark.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace ssi::migrate {

struct TimerSlack {
  pid_t pid = 0;  // as the process calls itself
  std::uint64_t ns = 0;
  bool operator==(const TimerSlack&) const = default;
};

// Of the first thread of each of these, in this node's /proc. Any thread; who can't be read is left
// out.
std::vector<TimerSlack> timer_slacks_of(std::span<const pid_t> pids);

// All threads of those of `pids` that are named get theirs. What can't be set is left as it is.
void set_timer_slacks(std::span<const pid_t> pids, std::span<const TimerSlack> slacks);

}  // namespace ssi::migrate
