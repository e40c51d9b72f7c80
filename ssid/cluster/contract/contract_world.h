// What the contract suite needs of a cluster implementation: nodes that it can start, kill and cut
// apart, and a record of everything that each node's handlers were told. Two of them: sim_world.h,
// corosync_world.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ssid/cluster/cluster.h"

namespace ssi {

// One call of a handler.
struct Observation {
  bool is_view = false;
  // a view
  std::vector<NodeId> members;
  std::vector<NodeId> joined;
  std::vector<NodeId> left;
  bool quorate = false;
  // a message
  NodeId from;
  std::uint64_t seq = 0;
  std::uint64_t size = 0;
  bool intact = false;
  bool sender_in_view = false;

  bool operator==(const Observation&) const = default;
  std::string to_string() const;
};

struct ClusterInfo {
  NodeId self;
  std::vector<Node> nodes;
  std::vector<NodeId> up;
  bool may_commit = false;
};

// A message whose content can be checked by who gets it: number and size, then bytes that follow
// from both.
std::vector<std::uint8_t> contract_message(std::uint64_t seq, std::uint64_t size);
Observation observe_message(const View& view, NodeId from, std::span<const std::uint8_t> bytes);
Observation observe_view(const View& view, const std::vector<NodeId>& joined,
                         const std::vector<NodeId>& left);

class ContractWorld {
 public:
  virtual ~ContractWorld() = default;

  virtual std::vector<NodeId> nodes() const = 0;
  // The ssid process of a node. Its log begins anew.
  virtual void start(NodeId node) = 0;
  virtual void kill(NodeId node) = 0;
  // size >= 16.
  virtual Result<> send(NodeId node, std::uint64_t seq, std::uint64_t size, Needs needs) = 0;
  virtual const std::vector<Observation>& log(NodeId node) const = 0;
  virtual ClusterInfo info(NodeId node) = 0;
  // False after a generous time (simulated or real).
  virtual bool wait(const std::function<bool()>& done) = 0;

  virtual bool can_cut() const = 0;
  virtual void cut(const std::vector<std::set<NodeId>>& sides) = 0;
  virtual void heal() = 0;
  virtual bool can_restart() const = 0;
  virtual void restart_corosync(NodeId node) = 0;
};

// The suite's test cases ask for a fresh world each; set before they run. Null: none, they are
// skipped.
using WorldMaker = std::function<std::unique_ptr<ContractWorld>()>;
void set_contract_world(WorldMaker maker);
std::unique_ptr<ContractWorld> make_contract_world();

}  // namespace ssi
