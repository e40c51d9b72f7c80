#include "loadlevel/policy/cost.h"

#include <algorithm>
#include <cmath>

namespace ssi {

Level Level::of(const NodeLoad& node, double reference_mhz) {
  Level level;
  level.id = node.id;
  level.cpus = std::max(node.cpus, 1);
  if (node.speed_mhz > 0 && reference_mhz > 0) {
    level.speed = std::clamp(node.speed_mhz / reference_mhz, 0.01, 100.0);
  }
  level.runnable = std::max(0.0, node.runnable + node.demand_arriving - node.demand_leaving);
  level.memory_total_bytes = static_cast<double>(node.memory_total_bytes);
  level.memory_available_bytes = static_cast<double>(node.memory_available_bytes) +
                                 static_cast<double>(node.bytes_leaving) -
                                 static_cast<double>(node.bytes_arriving);
  return level;
}

void Level::add(double demand, double bytes) {
  runnable += demand;
  memory_available_bytes -= bytes;
}

void Level::remove(double demand, double bytes) {
  runnable = std::max(0.0, runnable - demand);
  memory_available_bytes += bytes;
}

double Level::memory_used() const {
  if (memory_total_bytes <= 0) return 0;
  return std::clamp(1 - memory_available_bytes / memory_total_bytes, 0.0, 1.0);
}

double slowdown(const Level& node) { return std::max(1.0, node.runnable / node.cpus) / node.speed; }

double cpu_cost(const Level& node) { return node.runnable * slowdown(node); }

double memory_cost(const Level& node, const PolicyConfig& config) {
  if (node.memory_total_bytes <= 0) return 0;
  return config.memory_weight * node.cpus *
         std::exp(config.memory_steepness * (node.memory_used() - 0.95));
}

double move_gain(const Level& from, const Level& to, NodeId home, double demand, double bytes,
                 const PolicyConfig& config) {
  Level from_after = from;
  Level to_after = to;
  from_after.remove(demand, bytes);
  to_after.add(demand, bytes);
  double gain = node_cost(from, config) - node_cost(from_after, config) + node_cost(to, config) -
                node_cost(to_after, config);
  if (to.id == home) gain += config.home_preference;
  if (from.id == home) gain -= config.home_preference;
  return gain;
}

double move_cost_s(const ClusterLoad& view, double bytes, const PolicyConfig& config) {
  const double link = view.link_bytes_s > 0 ? view.link_bytes_s : config.link_mib_s * 1024 * 1024;
  const double freeze = view.freeze_s > 0 ? view.freeze_s : config.freeze_ms / 1000;
  return freeze + bytes / link;
}

double residence_s(int moves, const PolicyConfig& config) {
  if (moves <= 0) return 0;
  return std::min(config.residence_max_s,
                  config.residence_s * std::pow(config.residence_growth, std::min(moves - 1, 100)));
}

}  // namespace ssi
