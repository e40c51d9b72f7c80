// The contract suite on the simulator.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <map>

#include "ssid/cluster/contract/contract_world.h"
#include "ssid/cluster/sim/sim_network.h"

namespace ssi {
namespace {

class SimWorld : public ContractWorld {
 public:
  explicit SimWorld(std::uint64_t seed) : network_({.nodes = 3, .seed = seed}) {}

  std::vector<NodeId> nodes() const override { return {NodeId{1}, NodeId{2}, NodeId{3}}; }

  void start(NodeId node) override {
    logs_[node].clear();
    SimCluster& cluster = network_.start_process(node);
    REQUIRE(cluster
                .start({.on_view =
                            [this, node](const View& view, const auto& joined, const auto& left) {
                              logs_[node].push_back(observe_view(view, joined, left));
                            },
                        .on_message =
                            [this, node](const View& view, NodeId from, auto bytes) {
                              logs_[node].push_back(observe_message(view, from, bytes));
                            },
                        .on_nodes = nullptr})
                .ok());
  }
  void kill(NodeId node) override { network_.kill_process(node); }
  Result<> send(NodeId node, std::uint64_t seq, std::uint64_t size, Needs needs) override {
    return network_.process(node)->send(contract_message(seq, size), needs);
  }
  const std::vector<Observation>& log(NodeId node) const override { return logs_[node]; }
  ClusterInfo info(NodeId node) override {
    const SimCluster& cluster = *network_.process(node);
    return {cluster.self(), cluster.nodes(), cluster.up(), cluster.may_commit()};
  }
  bool wait(const std::function<bool()>& done) override { return network_.run_until(done, 60'000); }

  bool can_cut() const override { return true; }
  void cut(const std::vector<std::set<NodeId>>& sides) override { network_.partition(sides); }
  void heal() override { network_.heal(); }
  bool can_restart() const override { return true; }
  void restart_corosync(NodeId node) override { network_.restart_corosync(node); }

 private:
  SimNetwork network_;
  mutable std::map<NodeId, std::vector<Observation>> logs_;
};

}  // namespace
}  // namespace ssi

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    ssi::set_contract_world([seed] { return std::make_unique<ssi::SimWorld>(seed); });
    if (const int status = context.run(); status != 0 || context.shouldExit()) return status;
  }
  return 0;
}
