// Processes that move together are one to the planner: what they want is added up. Pure.
#pragma once

#include <map>
#include <vector>

#include "loadlevel/policy/cluster_load.h"

namespace ssi {

// `unit_of`: by which PID a process's unit is known; those that are alone need not be there. A unit
// is load-levelled if all of it is, and stays if any of it is pinned. Its size is the sum of what
// `processes` give: count memory that is shared once.
std::vector<ProcessLoad> merge_units(std::vector<ProcessLoad> processes,
                                     const std::map<SsiPid, SsiPid>& unit_of);

}  // namespace ssi
