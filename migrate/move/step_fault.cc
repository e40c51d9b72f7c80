#include "migrate/move/step_fault.h"

#include <signal.h>

#include <fstream>
#include <iterator>

namespace ssi::migrate {
namespace {

bool is_criu(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return text.find(std::string("\0swrk\0", 6)) != std::string::npos;
}

}  // namespace

Result<> step_fault(FaultAction action, pid_t criu) {
  if (action == FaultAction::kKillCriu && criu > 0) ::kill(criu, SIGKILL);
  if (action == FaultAction::kError) return Error("injected fault");
  return {};
}

Result<> step_fault_in(FaultAction action, const FreezerCgroup& criu_cgroup) {
  if (action == FaultAction::kKillCriu) {
    SSI_ASSIGN(const auto pids, criu_cgroup.pids());
    for (const pid_t pid : pids) {
      if (is_criu(pid)) ::kill(pid, SIGKILL);
    }
  }
  return step_fault(action);
}

}  // namespace ssi::migrate
