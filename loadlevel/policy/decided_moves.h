// Why this node's planner sent processes away: kept here, for the node where they run now to ask
// (`loadlevel why`).
//
// Owned by the balancer; one thread; can't fail. Holds one move a process, the last that was
// decided here, until the process ends or somebody else moves it away from here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "loadlevel/policy/plan.h"

namespace ssi {

class DecidedMoves {
 public:
  void begun(const PlannedMove& move);
  // It came to nothing.
  void failed(SsiPid pid) { moves_.erase(pid); }
  // The group decided that a process moved, by whomever. Every such decision is to be told.
  void moved(SsiPid pid, NodeId from, NodeId to);
  void gone(SsiPid pid) { moves_.erase(pid); }

  // Sentences; none if the process did not leave this node by its planner's word when it last did.
  std::vector<std::string> why(SsiPid pid) const;

 private:
  struct Decided {
    PlannedMove move;
    bool done = false;
  };
  std::map<SsiPid, Decided> moves_;
};

}  // namespace ssi
