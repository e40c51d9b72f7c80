#include "migrate/move/step_fault.h"

#include <signal.h>
#include <unistd.h>

#include "ssid/base/proc_status.h"

namespace ssi::migrate {
Result<> step_fault(FaultAction action, pid_t criu) {
  if (action == FaultAction::kKillCriu && criu > 0) ::kill(criu, SIGKILL);
  if (action == FaultAction::kError) return Error("injected fault");
  return {};
}

Result<> step_fault_in(FaultAction action, const FreezerCgroup& criu_cgroup, pid_t criu_inside) {
  if (action != FaultAction::kKillCriu) return step_fault(action);
  // Just started, it may not have got into its cgroup yet.
  for (int tries = 0; tries < 400; ++tries) {
    SSI_ASSIGN(const auto pids, criu_cgroup.pids());
    for (const pid_t pid : pids) {
      if (innermost_pid(pid) != criu_inside) continue;
      ::kill(pid, SIGKILL);
      return {};
    }
    ::usleep(5000);
  }
  return Error("injected fault: there is no criu to kill");
}

}  // namespace ssi::migrate
