#include "migrate/move/step_fault.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace ssi::migrate {
namespace {

// The PID of a process in the innermost of its PID namespaces; 0 if it is gone.
pid_t pid_inside(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("NSpid:")) continue;
    const auto last = line.find_last_of(" \t");
    return static_cast<pid_t>(std::strtol(line.c_str() + last, nullptr, 10));
  }
  return 0;
}

}  // namespace

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
      if (pid_inside(pid) != criu_inside) continue;
      ::kill(pid, SIGKILL);
      return {};
    }
    ::usleep(5000);
  }
  return Error("injected fault: there is no criu to kill");
}

}  // namespace ssi::migrate
