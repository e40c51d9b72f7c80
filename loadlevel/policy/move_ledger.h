// What this node knows about moves: under way, just done, and how often each process was moved or
// refused.
//
// A load that was measured a second ago does not show what has moved since; planning on it would
// send the same load twice. The ledger holds each move against the moment every load was taken, and
// corrects it by exactly the part of the last second in which the process was not there yet (or
// still was).
//
//         begun ....... committed         load of the source: drops at `begun` (it is frozen)
//    ------|----------------|------->     load of the target: rises at `committed`
//               [ window ]^ taken
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/policy_config.h"

namespace ssi {

struct MoveNote {
  SsiPid pid;
  NodeId from;
  NodeId to;
  double demand = 0;
  std::uint64_t bytes = 0;
};

// Role: pure memory of moves. Owned by the balancer; one thread. All nodes see all commits, so each
// ledger knows the last move of every process; `begun`, `failed` and `refused` are known where the
// move is.
class MoveLedger {
 public:
  explicit MoveLedger(PolicyConfig config) : config_(config) {}

  // A move is under way, from here or to here.
  void begun(const MoveNote& note, std::int64_t now_us);
  // It is committed; works without `begun` too (a move between two other nodes).
  void committed(const MoveNote& note, std::int64_t now_us);
  // It came to nothing and the process runs on at its source; nobody's fault (a node went down).
  void failed(SsiPid pid, std::int64_t now_us);
  // The same, because it can't be moved: not asked again for a while, longer each time. With a
  // target: can't be moved there.
  void refused(SsiPid pid, std::string reason, std::optional<NodeId> target, std::int64_t now_us);
  // The same, because the target did not admit it just now: asked again in two seconds.
  void busy(SsiPid pid, std::string reason, NodeId target, std::int64_t now_us);
  // The process has ended.
  void gone(SsiPid pid);

  // Fills in what ClusterLoad says is the ledger's: arriving/leaving of the nodes; moves,
  // last_move_us and refusals of the processes; `moving` is set, never cleared.
  void annotate(ClusterLoad& view, std::int64_t now_us) const;

  // Drops what no longer matters; call it once a second. A move without an end is forgotten after a
  // minute.
  void tidy(std::int64_t now_us);

  int moves(SsiPid pid) const;

 private:
  struct Move {
    MoveNote note;
    std::int64_t begun_us = 0;
    std::optional<std::int64_t> committed_us;
  };
  struct History {
    int moves = 0;
    std::int64_t last_move_us = 0;
    int refusals = 0;
    std::vector<Refusal> refused;
    std::int64_t touched_us = 0;
  };
  void refuse(SsiPid pid, std::string reason, NodeId target, double seconds, std::int64_t now_us);

  PolicyConfig config_;
  std::unordered_map<SsiPid, std::vector<Move>>
      moves_;  // the latest is last; older ones were committed
  std::unordered_map<SsiPid, History> history_;
};

}  // namespace ssi
