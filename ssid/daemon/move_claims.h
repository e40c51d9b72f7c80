// Which processes of this node are part of a move: one that leaves with its tree can't be moved by
// itself meanwhile, nor taken along by two trees. Any thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <set>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

class MoveClaims {
 public:
  // These, in this node's /proc, are part of the move of `mover`, too. kBusy: one of them is part
  // of another; then nothing is claimed.
  Result<> claim(SsiPid mover, const std::set<pid_t>& pids);
  // All of that move.
  void release(SsiPid mover);

 private:
  std::mutex mutex_;
  std::map<pid_t, SsiPid> claimed_;
};

}  // namespace ssi
