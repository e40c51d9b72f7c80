// The opportunity cost of using a node: what everybody on it together loses per second, in seconds.
//
// As MOSIX does (Amir, Awerbuch, Barak, Borgstrom, Keren: "An opportunity cost approach for job
// assignment in a scalable computing cluster"), CPU and memory are brought to one currency by a
// convex function of how much of each is used, and a process belongs where the sum over all nodes
// grows least. Their functions are n^utilisation for both. Ours have a unit, so that a saving can
// be held against what the move costs:
//
//   CPU      L * max(1, L / cpus) / speed     each of L runnable tasks takes `slowdown` seconds per
//   second memory   weight * cpus * e^(steepness * (used - 0.95))         paging, felt on every CPU
//
// With n^utilisation the gain of a move would depend on how many nodes the cluster has, and equal
// utilisation would not be the optimum of nodes with different numbers of CPUs.
#pragma once

#include <cstdint>

#include "loadlevel/policy/cluster_load.h"
#include "loadlevel/policy/policy_config.h"

namespace ssi {

// A node's load in the planner's hands: as published, corrected by the moves it does not show yet,
// and changed by what is planned in this round.
struct Level {
  NodeId id;
  int cpus = 1;
  double speed = 1;  // relative to the planning node
  double runnable = 0;
  double memory_total_bytes = 0;  // 0: not known
  double memory_available_bytes = 0;

  static Level of(const NodeLoad& node, double reference_mhz);
  void add(double demand, double bytes);
  void remove(double demand, double bytes);
  double capacity() const { return cpus * speed; }
  double memory_used() const;  // 0..1
};

// Seconds that one task needs for what takes a second on an idle CPU of the planning node.
double slowdown(const Level& node);

double cpu_cost(const Level& node);
double memory_cost(const Level& node, const PolicyConfig& config);
inline double node_cost(const Level& node, const PolicyConfig& config) {
  return cpu_cost(node) + memory_cost(node, config);
}

// By how much the cost of the two nodes together falls if a process goes from one to the other.
// Seconds per second; negative if it rises. Being away from `home` costs config.home_preference.
double move_gain(const Level& from, const Level& to, NodeId home, double demand, double bytes,
                 const PolicyConfig& config);

// How long a process of this size stands still: seconds.
double move_cost_s(const ClusterLoad& view, double bytes, const PolicyConfig& config);

// How long a process stays after its n-th move: seconds.
double residence_s(int moves, const PolicyConfig& config);

}  // namespace ssi
