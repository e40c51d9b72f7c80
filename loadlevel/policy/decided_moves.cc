#include "loadlevel/policy/decided_moves.h"

namespace ssi {

void DecidedMoves::begun(const PlannedMove& move) { moves_[move.pid] = {move, false}; }

void DecidedMoves::moved(SsiPid pid, NodeId from, NodeId to) {
  const auto it = moves_.find(pid);
  if (it == moves_.end() || it->second.move.from != from) return;
  Decided& decided = it->second;
  if (decided.done || decided.move.to != to) {
    moves_.erase(it);  // it had come back, and somebody else moved it
  } else {
    decided.done = true;
  }
}

std::vector<std::string> DecidedMoves::why(SsiPid pid) const {
  const auto it = moves_.find(pid);
  if (it == moves_.end() || !it->second.done) return {};
  const PlannedMove& move = it->second.move;
  std::vector<std::string> lines{"moved " + std::to_string(move.from.value) + " -> " +
                                 std::to_string(move.to.value) + " because:"};
  lines.insert(lines.end(), move.reasons.begin(), move.reasons.end());
  return lines;
}

}  // namespace ssi
