// The target's word: may this process come in now? Asked in the check step of a move, on the node
// it would go to, which alone knows all that is on its way. Pure.
#pragma once

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/policy_config.h"
#include "ssid/base/result.h"

namespace ssi {

struct Arrival {
  NodeId from;
  double source_slowdown =
      1;  // seconds per second of work where it is now, as the source's planner saw it
  double demand = 1;
  std::uint64_t bytes = 0;
  bool by_user = false;     // `migrate PID NODE`: only memory and drain count
  bool must_leave = false;  // the source is drained or runs dry: it need not be faster here
};

// What the source puts into the request.
double source_slowdown(const ClusterLoad& view);

// `view` is the target's own view (annotated by its MoveLedger). kRefused with the reason in words;
// the source treats it as MoveLedger::busy, not as a cantmove.
Result<> admit(const ClusterLoad& view, const PolicyConfig& config, const Arrival& arrival);

}  // namespace ssi
