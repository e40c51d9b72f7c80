// The process table kept equal on all members, by virtual synchrony: operations are applied in the
// group's one order; after each change of view every member sends what it holds, all take the same
// one of what they got (the table of the latest quorate lineage, then the longest), and apply what
// came meanwhile.
//
// A lineage is counted by its term: it grows with each exchange in a quorate view, so a minority's
// table never wins over the majority's. What a member that is being cut off saw last may be unknown
// to the others (see cluster.h, 3); its next exchange with them replaces its table.
//
// Owned by the daemon; control loop only, but address_of and name_of.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <vector>

#include "ssid/base/clock.h"
#include "ssid/daemon/process_control.h"
#include "ssid/registry/process_table.h"

namespace ssi {

class GroupDriver : public GroupPort {
 public:
  struct Handlers {
    std::function<void(const group::Operation&, bool accepted)> on_decided;
    std::function<void()> on_table_valid;
    std::function<void(const std::vector<NodeId>& joined, const std::vector<NodeId>& left)> on_view;
    // Every other message.
    std::function<void(NodeId from, const group::GroupMessage&)> on_message;
  };

  GroupDriver(boost::asio::io_context& io, const Clock& clock, Cluster& cluster,
              std::uint64_t grace_ms);

  Result<> start(Handlers handlers);
  // Once the cluster has answered: the addresses that other threads may ask for.
  void set_nodes(const std::vector<Node>& nodes);

  NodeId self() const override { return cluster_.self(); }
  const View& view() const override { return cluster_.view(); }
  bool table_valid() const override { return valid_; }
  std::optional<group::TableEntry> find(SsiPid pid) const override;
  std::optional<group::Tombstone> tombstone(SsiPid pid) const override;
  std::vector<group::TableEntry> entries() const override;
  Result<> propose(group::Operation operation) override;
  Result<> broadcast(const group::GroupMessage& message) override;
  std::string address_of(NodeId node) const override;
  std::string name_of(NodeId node) const override;

 private:
  struct Held {  // a member's table, as it told it in this view
    std::vector<group::Snapshot> parts;
    bool complete() const { return !parts.empty() && parts.size() == parts.front().parts; }
  };
  struct Waiting {
    NodeId sender;
    group::Operation operation;
  };

  void on_view(const View& view, const std::vector<NodeId>& joined,
               const std::vector<NodeId>& left);
  void on_message(const View& view, NodeId from, std::span<const std::uint8_t> bytes);
  void send_table();
  void take(NodeId from, group::Snapshot part);
  void settle();
  void apply(NodeId sender, const group::Operation& operation);
  void watch_deadlines();
  void retire_lost();

  boost::asio::io_context& io_;
  const Clock& clock_;
  Cluster& cluster_;
  const std::uint64_t grace_ms_;
  Handlers handlers_;
  ProcessTable table_;
  bool valid_ = false;
  std::uint64_t term_ = 0;
  std::uint64_t applied_ = 0;
  std::map<NodeId, Held> exchange_;
  std::vector<Waiting> waiting_;
  std::map<NodeId, Node> nodes_;  // not changed once the threads run
  boost::asio::steady_timer deadline_;
};

}  // namespace ssi
