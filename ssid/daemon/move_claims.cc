#include "ssid/daemon/move_claims.h"

#include <string>

namespace ssi {

Result<> MoveClaims::claim(SsiPid mover, const std::set<pid_t>& pids) {
  std::lock_guard lock(mutex_);
  for (const pid_t pid : pids) {
    const auto known = claimed_.find(pid);
    if (known == claimed_.end() || known->second == mover) continue;
    return Error(ErrorCode::kBusy, "process " + std::to_string(pid) + " is being moved already");
  }
  for (const pid_t pid : pids) claimed_.emplace(pid, mover);
  return {};
}

void MoveClaims::release(SsiPid mover) {
  std::lock_guard lock(mutex_);
  std::erase_if(claimed_, [&](const auto& claimed) { return claimed.second == mover; });
}

}  // namespace ssi
