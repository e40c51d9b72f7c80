// Which processes of this node should go where, and why. Pure: equal input, equal output.
//
// Every node plans its own outgoing moves once a second, from views that are a second old, and
// nobody asks the others first. Three things keep nodes from all filling the same hole:
//  - share: of what a target lacks to the average, a node fills only the part that its own surplus
//  is of all
//    nodes' surplus, a fraction of a process by lot;
//  - lot: a node compares `targets_sampled` targets drawn with their lack as weight, not the
//  emptiest of all;
//  - admission: the target itself refuses what would come on top (admission.h), being the only one
//  who
//    knows all that is on its way.
// And four keep a process from going to and fro: it must be faster there by `stability_factor`, the
// saving must pay for the move, it stays a while after a move, and no move is planned that does not
// lower the sum of the costs of the two nodes. Rejected: one node plans for all (it may be cut off,
// and its view is as old); asking k nodes before each move (a round trip more, and the load vectors
// are there anyway).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/policy_config.h"

namespace ssi {

struct PlannedMove {
  SsiPid pid;
  NodeId from;
  NodeId to;
  double gain = 0;    // seconds of waiting saved per second, over both nodes
  double cost_s = 0;  // how long it will stand still
  double demand = 0;  // what goes with it: for MoveLedger::begun
  std::uint64_t bytes = 0;
  std::vector<std::string> reasons;  // sentences with numbers
};

enum class Verdict : std::uint8_t {
  kNotNow,  // no quorum, balancer off, own load unknown: nothing is moved
  kNotEnabled,
  kPinned,
  kMoving,
  kEnded,    // zombie or stopped
  kRefused,  // asked before, and told why not
  kTooYoung,
  kResident,   // moved a short while ago
  kIdle,       // wants too little CPU to gain anything
  kNoTarget,   // no node is up, accepting and has the memory
  kNoGain,     // as well off here
  kNotPaying,  // would gain less than the move costs
  kNextTime,   // would move, but others go first, or the lot fell otherwise
};
const char* verdict_name(Verdict verdict);  // "not enabled", "too young", ...

// Why a process stays.
struct Evaluation {
  SsiPid pid;
  Verdict verdict = Verdict::kNotNow;
  NodeId best_target;  // no node if none was worth a look
  double gain = 0;     // at best_target
  std::vector<std::string> reasons;
};

struct Plan {
  std::vector<PlannedMove> moves;  // best first
  std::vector<Evaluation> stays;   // every other process of the view, in its order
};

Plan plan(const ClusterLoad& view, const PolicyConfig& config, std::int64_t now_us);

}  // namespace ssi
