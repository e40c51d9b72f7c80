// The fault points of a move, as errors of the step that passes them. `kill-criu` kills the criu
// given by PID (the one in `criu_cgroup` that has this PID inside its realm: a criu at work changes
// its title, so it can't be known by that), so that tests can show what becomes of the move.
#pragma once

#include <sys/types.h>

#include "migrate/freezer/freezer_cgroup.h"
#include "ssid/base/fault.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

Result<> step_fault(FaultAction action, pid_t criu = 0);
Result<> step_fault_in(FaultAction action, const FreezerCgroup& criu_cgroup, pid_t criu_inside);

}  // namespace ssi::migrate
