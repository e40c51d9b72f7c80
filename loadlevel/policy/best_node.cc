#include "loadlevel/policy/best_node.h"

#include <cmath>

#include "loadlevel/policy/cost.h"

namespace ssi {

NodeId best_node(const ClusterLoad& view, const PolicyConfig& config, std::int64_t now_us,
                 NodeId from, NodeId home, double demand, std::uint64_t bytes) {
  constexpr double kEven = 1e-9;
  const NodeLoad* self = view.find(view.here);
  NodeId best;
  double best_cost = 0;
  for (const auto& node : view.nodes) {
    if (node.id == from || !node.up || node.drained || !node.accepting ||
        static_cast<double>(now_us - node.taken_us) / 1e6 > config.stale_after_s) {
      continue;
    }
    const Level before = Level::of(node, self ? self->speed_mhz : node.speed_mhz);
    Level after = before;
    after.add(demand, static_cast<double>(bytes));
    if (after.memory_total_bytes > 0 &&
        after.memory_available_bytes < config.memory_reserve * after.memory_total_bytes) {
      continue;
    }
    double cost = node_cost(after, config) - node_cost(before, config);
    if (node.id == home) cost -= config.home_preference;
    if (!best || cost < best_cost - kEven ||
        (std::abs(cost - best_cost) <= kEven && node.id < best)) {
      best = node.id;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace ssi
