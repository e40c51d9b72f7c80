// Where one process would be best, by the costs that the planner goes by (cost.h): for `migrate PID
// best` and `runon best`. Pure. Whoever asks wants the process to go: whether that pays is not
// looked at.
#pragma once

#include <cstdint>

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/policy_config.h"

namespace ssi {

// The node whose cost grows least, if the process had to be somewhere else than `from` (no node: a
// new process); of equal ones the lowest. No node if none can take it.
NodeId best_node(const ClusterLoad& view, const PolicyConfig& config, std::int64_t now_us,
                 NodeId from, NodeId home, double demand, std::uint64_t bytes);

}  // namespace ssi
