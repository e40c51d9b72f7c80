// How far a drain has come: which processes have left, which stay and why, how many are still to
// go.
//
// The planner drains (plan.h: a drained node sends everything away); this only watches it, so that
// somebody can be told. A process *stays* when it can't move at all (a refusal that holds for every
// node, pinned), or when it could not for a while in which nothing else left either: no node has
// room for it, or each attempt fails. The planner goes on trying; if it leaves later, it has left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/plan.h"

namespace ssi {

struct DrainedProcess {
  SsiPid pid;
  NodeId from;
  NodeId to;
  std::uint64_t frozen_us = 0;
  std::uint64_t memory_bytes = 0;
};

struct StayingProcess {
  SsiPid pid;
  std::string reason;  // in plain words
};

// Role: pure memory of one node's drain. Owned by the balancer; one thread.
class DrainProgress {
 public:
  // The node is drained from now on; again if it was: who stayed is looked at anew.
  void begin(std::int64_t now_us);
  void end();
  bool active() const { return active_; }

  // Of a move away from here, whether the node is drained or not: it has begun; it came, or it came
  // to nothing. Between the two the process may not be in any view: its copy here is gone already.
  void begun(SsiPid pid) { under_way_.insert(pid); }
  void left(const DrainedProcess& process, std::int64_t now_us);
  void failed(SsiPid pid, std::string reason);
  // After each round of planning on a view of this node.
  void planned(const ClusterLoad& view, const Plan& plan, std::int64_t now_us);

  // Numbers of what has left: those from `first()` to before `next()` belong to this drain.
  std::uint64_t first() const { return first_; }
  std::uint64_t next() const { return dropped_ + left_.size(); }
  std::vector<DrainedProcess> left_since(std::uint64_t number) const;
  // Whether the last round had it in its view.
  bool seen(SsiPid pid) const { return seen_.contains(pid); }
  std::size_t to_go() const { return to_go_; }
  const std::vector<StayingProcess>& staying() const { return staying_; }
  // Everything that could leave has left, as far as the last rounds tell.
  bool settled() const { return active_ && rounds_ >= kRoundsMin && to_go_ == 0; }

 private:
  // By ticks of the view: only the second one has surely measured all that was here at the
  // beginning.
  static constexpr int kRoundsMin = 2;

  struct Failures {
    int count = 0;
    std::string last;
  };
  bool hopeless(SsiPid pid) const;

  bool active_ = false;
  int rounds_ = 0;
  std::uint64_t last_tick_ = 0;
  std::int64_t progress_us_ = 0;  // when something left last
  std::vector<DrainedProcess> left_;
  std::uint64_t dropped_ = 0;  // that many before left_[0]
  std::uint64_t first_ = 0;
  std::map<SsiPid, Failures> failures_;
  std::set<SsiPid> under_way_;
  std::set<SsiPid> seen_;
  std::size_t to_go_ = 0;
  std::vector<StayingProcess> staying_;
};

}  // namespace ssi
