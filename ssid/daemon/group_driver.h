// The process table kept equal on all members: TableReplica (ssid/registry) fed with what the
// cluster delivers, its state kept in a file on a tmpfs, its events passed on in their order. And
// the group's other messages, passed on as they come.
//
// Owned by the daemon; control loop only, but address_of and name_of.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ssid/base/clock.h"
#include "ssid/daemon/process_control.h"
#include "ssid/registry/table_replica.h"

namespace ssi {

class GroupDriver : public GroupPort {
 public:
  struct Options {
    std::string run_dir;  // "table", which a restarted ssid reads, and "boot" are here
    std::uint64_t grace_ms = 10'000;
  };
  struct Handlers {
    std::function<void(const TableReplica::Event&)> on_event;
    std::function<void(const std::vector<NodeId>& joined, const std::vector<NodeId>& left)> on_view;
    // Every message that is not the table's.
    std::function<void(NodeId from, const group::GroupMessage&)> on_message;
    // The cluster's nodes, or which of them are up, have changed.
    std::function<void()> on_nodes;
    // Every second.
    std::function<void()> on_tick;
  };

  GroupDriver(boost::asio::io_context& io, const Clock& clock, Cluster& cluster, Options options);

  // The handlers are called from the loop only. Error: no corosync, or a damaged file.
  Result<> start(Handlers handlers);

  NodeId self() const override { return cluster_.self(); }
  const View& view() const override { return cluster_.view(); }
  bool table_valid() const override { return replica_ && replica_->established(); }
  std::uint64_t term() const override { return replica_ ? replica_->term() : 0; }
  std::optional<group::TableEntry> find(SsiPid pid) const override;
  std::optional<group::Tombstone> tombstone(SsiPid pid) const override;
  std::vector<group::TableEntry> entries() const override;
  bool drained(NodeId node) const override {
    return replica_ && replica_->table().drained().contains(node);
  }
  Result<> propose(group::Operation operation) override;
  Result<> broadcast(const group::GroupMessage& message) override;
  std::string address_of(NodeId node) const override;
  std::string name_of(NodeId node) const override;
  const std::string& boot_id() const { return boot_id_; }

 private:
  void on_message(NodeId from, std::span<const std::uint8_t> bytes);
  void carry_out(TableReplica::Effects effects);
  void drain_events();
  void wait_for_tick();
  void save() const;
  std::uint64_t now_ms() const { return static_cast<std::uint64_t>(clock_.now_ms()); }

  boost::asio::io_context& io_;
  const Clock& clock_;
  Cluster& cluster_;
  Options options_;
  Handlers handlers_;
  std::string boot_id_;
  std::optional<TableReplica> replica_;  // from start() on
  std::deque<TableReplica::Event> events_;
  bool draining_ = false;
  boost::asio::steady_timer timer_;
  std::map<NodeId, Node> nodes_;  // as of start(), for all threads
};

}  // namespace ssi
