// The timer slack of a thread (prctl(2), PR_SET_TIMERSLACK), by /proc/TID/timerslack_ns. Of others
// than oneself with CAP_SYS_NICE only. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace ssi {

// nullopt: it is gone, or we may not.
std::optional<std::uint64_t> timer_slack_ns(pid_t thread);
bool set_timer_slack_ns(pid_t thread, std::uint64_t ns);

}  // namespace ssi
