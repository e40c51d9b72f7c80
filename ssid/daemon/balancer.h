// The balancer of this node: once a second it measures, tells the others, plans, and starts the
// moves that the plan asks for; while this node is drained also whenever a move is done. Decides
// nothing itself: measuring is loadlevel/metrics, who is enabled loadlevel/tracker, what moves
// loadlevel/policy.
//
// Owned by the daemon; control loop only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "loadlevel/metrics/sampler.h"
#include "loadlevel/policy/decided_moves.h"
#include "loadlevel/policy/drain_progress.h"
#include "loadlevel/policy/move_ledger.h"
#include "loadlevel/policy/plan.h"
#include "ssid/daemon/enabled_processes.h"
#include "ssid/daemon/node_loads.h"
#include "ssid/daemon/node_units.h"
#include "ssid/daemon/process_control.h"

namespace ssi {

class Balancer {
 public:
  struct Options {
    PolicyConfig policy;
    std::string state_path;  // what is enabled, kept over a restart of ssid
    std::string version;
    std::string boot_id;
    bool balancing = true;
    bool accepting = true;  // other nodes' balancers may send processes here
  };

  static Result<std::unique_ptr<Balancer>> create(boost::asio::io_context& io, const Clock& clock,
                                                  GroupPort& group, ProcessControl& control,
                                                  Options options);
  void start();

  // What this node's planner knows.
  const NodeLoads& loads() const { return loads_; }
  const NodeSample& last_sample() const { return *sample_; }
  EnabledProcesses& enabled() { return enabled_; }
  bool balancing() const { return options_.balancing; }
  void set_balancing(bool on) { options_.balancing = on; }
  const DrainProgress& drain() const { return drain_; }
  // Guests here and on their way here that drain() has not seen yet.
  std::size_t guests_unseen() const;
  // What goes along with the process when it moves; empty: it is not enabled.
  std::string enablement_of(pid_t local_pid);
  // Why the process, which runs here, is enabled or not, and stays: sentences.
  std::vector<std::string> why(SsiPid pid, pid_t local_pid);
  // Why this node sent it away when it last left here; none if it was not the balancer.
  std::vector<std::string> why_moved(SsiPid pid) const { return decided_.why(pid); }
  NodeId best_node_for(NodeId from, NodeId home, double demand, std::uint64_t bytes);
  std::optional<std::string> refuse_arrival(const migrate::MoveTicket& ticket);

  // Events.
  void on_node_info(const group::NodeInfo& info);
  void on_moved(const group::Commit& commit);
  void on_ended(SsiPid pid);
  void on_arrival_failed(SsiPid pid) { ledger_.failed(pid, clock_.now_us()); }
  void on_left(NodeId node) { loads_.left(node); }
  void on_drained(NodeId node, bool drained);

 private:
  Balancer(boost::asio::io_context& io, const Clock& clock, GroupPort& group,
           ProcessControl& control, Options options, Sampler sampler);
  void tick();
  void adopt_guests();
  void adopt_guest(const GuestRecord& record);
  std::string name_of(pid_t local_pid) const;  // as users write it
  ClusterLoad view_of_cluster() const;
  void plan_moves(const ClusterLoad& view);
  void plan_again();
  group::NodeInfo own_info(const ClusterLoad& view) const;
  void start_move(const PlannedMove& move, double slowdown_here);

  boost::asio::io_context& io_;
  const Clock& clock_;
  GroupPort& group_;
  ProcessControl& control_;
  Options options_;
  Sampler sampler_;
  const NodeSample* sample_ = nullptr;
  boost::asio::steady_timer timer_;
  EnabledProcesses enabled_;
  MoveLedger ledger_;
  NodeLoads loads_;
  std::deque<double> runnable_past_;    // as ClusterLoad has it
  std::map<SsiPid, pid_t> guest_pids_;  // local PIDs of guests here, as of this second
  NodeUnits units_;
  std::map<SsiPid, Evaluation> stays_;
  DecidedMoves decided_;
  DrainProgress drain_;  // active while this node is drained
  std::uint64_t tick_ = 0;
};

}  // namespace ssi
