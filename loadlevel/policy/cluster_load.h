// What the planner looks at: every node's load as last heard of, and the processes of this node.
// Plain values; the daemon fills them from the metrics, the load messages and the registry,
// MoveLedger adds what is known about moves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ssid/base/ids.h"

namespace ssi {

struct NodeLoad {
  NodeId id;
  bool up = true;
  bool accepting = true;      // takes in guests (not drained, balancer on)
  bool drained = false;       // everything that can leave it must
  std::int64_t taken_us = 0;  // when this was measured, on the planner's clock
  int cpus = 1;
  double speed_mhz = 0;  // of one CPU; 0: as fast as the planning node
  double runnable = 0;   // tasks running or waiting for a CPU, over the last second
  double movable = -1;   // the part of it that its own planner may move (movable_demand()); -1: all
  std::uint64_t memory_total_bytes = 0;  // 0: not known, memory is then no criterion
  std::uint64_t memory_available_bytes = 0;
  double memory_trend_bytes_s = 0;  // negative: running dry

  // Moves that the numbers above do not show yet (MoveLedger::annotate).
  double demand_arriving = 0;
  double demand_leaving = 0;
  std::uint64_t bytes_arriving = 0;
  std::uint64_t bytes_leaving = 0;
  int moves_arriving = 0;  // in flight right now
};

// Why a process was not taken, and how long not to ask again.
struct Refusal {
  NodeId target;       // no node: nowhere (cantmove)
  std::string reason;  // in plain words
  std::int64_t until_us = 0;
};

struct ProcessLoad {
  SsiPid pid;
  bool enabled = false;
  bool pinned = false;  // `runon -p`
  bool moving = false;  // a move of it is under way
  char state = 'R';     // as in /proc/PID/stat
  double demand = 0;    // CPUs it uses or waits for, smoothed over some seconds
  std::uint64_t rss_bytes = 0;
  double wanted_s = 0;            // CPU seconds used or waited for since it was started
  int moves = 0;                  // how often it was moved
  std::int64_t last_move_us = 0;  // if moves > 0
  std::vector<Refusal> refusals;
};

struct ClusterLoad {
  static constexpr std::size_t kPastSeconds = 60;

  NodeId here;
  std::uint64_t tick = 0;  // grows by one per planning round; with `here` it seeds the choices
  bool balancing = true;   // loadlevel on
  bool quorate = true;
  double link_bytes_s = 0;  // measured; 0: PolicyConfig's guess
  double freeze_s = 0;  // measured part of the frozen time that does not depend on size; 0: a guess
  std::vector<NodeLoad> nodes;         // with `here`, in any order
  std::vector<ProcessLoad> processes;  // of this node, natives and guests, but not ssid's own
  // Whether `processes` are all that want a CPU, enabled or not. If so, what is in the node's
  // `runnable` but not among them has ended already; if not, it is taken to be others that stay.
  bool all_processes = false;
  // `runnable` of node `here` as it was measured, each second, the newest first and at most
  // kPastSeconds of them. Where there is nothing it is not known.
  std::vector<double> runnable_past;

  const NodeLoad* find(NodeId id) const {
    for (const auto& node : nodes) {
      if (node.id == id) return &node;
    }
    return nullptr;
  }
};

// What a drained node sends away: guests of other homes, and what is load-levelled anyway.
inline bool must_leave(const ClusterLoad& view, const ProcessLoad& p) {
  return p.enabled || p.pid.home != view.here;
}

// What a node publishes as `movable`: the demand of the processes its planner may move.
inline double movable_demand(const ClusterLoad& view, std::int64_t now_us) {
  double sum = 0;
  for (const auto& p : view.processes) {
    const bool refused = [&] {
      for (const auto& r : p.refusals) {
        if (!r.target && r.until_us > now_us) return true;
      }
      return false;
    }();
    if (p.enabled && !p.pinned && !p.moving && !refused) sum += p.demand;
  }
  return sum;
}

}  // namespace ssi
