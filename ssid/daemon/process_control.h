// What happens to the processes of the cluster as far as this node has a part in it: as home
// (deputies), as the node where guests live, as source and target of moves. Turns decisions of the
// group (a commit, an end, a node that left) into acts here, and what happens here into proposals
// to the group.
//
// Owned by the daemon; control loop only, but for what the movers' threads call through MoveHost.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "migrate/move/frozen_copy.h"
#include "ssid/cluster/cluster.h"
#include "ssid/daemon/births.h"
#include "ssid/daemon/carrier_files.h"
#include "ssid/daemon/carrier_streams.h"
#include "ssid/daemon/deputies.h"
#include "ssid/daemon/guests.h"
#include "ssid/daemon/home_births.h"
#include "ssid/daemon/home_net.h"
#include "ssid/daemon/move_claims.h"
#include "ssid/daemon/moves.h"
#include "ssid/daemon/pipe_demand.h"
#include "ssid/daemon/realms.h"
#include "ssid/daemon/stop_reports.h"
#include "ssid/daemon/taken_fifos.h"
#include "ssid/registry/table_replica.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

struct DaemonPaths {
  std::string run_dir = "/run/ssid";
  std::string program_dir = "/usr/lib/ssid";
  std::string criu;  // an absolute path

  std::string deputy_socket() const { return run_dir + "/deputy.sock"; }
};

// The group as this room needs it.
class GroupPort {
 public:
  virtual ~GroupPort() = default;
  virtual NodeId self() const = 0;
  virtual const View& view() const = 0;
  // The table is the group's (not one of a past view), and changes of it can be proposed.
  virtual bool table_valid() const = 0;
  virtual std::uint64_t term() const = 0;  // see TableReplica
  virtual std::optional<group::TableEntry> find(SsiPid pid) const = 0;
  virtual std::optional<group::Tombstone> tombstone(SsiPid pid) const = 0;
  virtual std::vector<group::TableEntry> entries() const = 0;
  // Closed for guests, by the table; also while the table is that of a past view.
  virtual bool drained(NodeId node) const = 0;
  // What becomes of it: TableReplica::Event. An error: never sent.
  virtual Result<> propose(group::Operation operation) = 0;
  virtual Result<> broadcast(const group::GroupMessage& message) = 0;
  // Any thread.
  virtual std::string address_of(NodeId node) const = 0;
  virtual std::string name_of(NodeId node) const = 0;
};

class ProcessControl {
 public:
  using MigrateDone = std::function<void(Result<migrate::MoveReport>)>;
  struct Handlers {
    // For the balancer and for who watches events.
    std::function<void(const group::Commit&)> moved;
    std::function<void(SsiPid, const std::string& why)> ended;
    // So many guests on this node stand still, until it is known how they go on.
    std::function<void(std::size_t guests, const std::string& why)> held;
    // What goes along with a process that moves (Enablement::to_line); empty: nothing.
    std::function<std::string(pid_t local_pid)> enablement_of;
    std::function<std::optional<std::string>(const migrate::MoveTicket&)> refuse_arrival;
    // Asks another node: Requests::ask.
    std::function<void(NodeId, const std::string& op, const nlohmann::json& args,
                       std::function<void(Result<nlohmann::json>)>)>
        ask;
    // A guest whose home this is is needed here.
    std::function<void(SsiPid, const std::string& why)> called_home;
    // An arrival that was not refused has come to nothing.
    std::function<void(SsiPid)> arrival_failed;
  };

  struct Options {
    DaemonPaths paths;
    std::chrono::milliseconds grace;  // after which others give up what is lost
    std::uint16_t link_port;          // of all nodes
    std::uint16_t carrier_port;
    LinkTimeouts link_timeouts;
    std::size_t moves_out_max;  // at a time
    std::size_t moves_in_max;
  };
  ProcessControl(boost::asio::io_context& io, GroupPort& group, migrate::FreezerRoot freezer,
                 std::shared_ptr<const TlsContext> tls, Options options, Handlers handlers);
  ~ProcessControl();

  Result<> start();

  // Why it moves, for the target's planner.
  struct Wish {
    bool by_user = true;
    bool must_leave = false;
    double demand = 1;
    double source_slowdown = 1;
    bool tree = false;     // with all that are below it
    bool again = false;    // the wish was busy before
    bool of_root = false;  // what shares memory with another user's is moved with that
  };
  // The process runs here. Checks, then moves it; one of a tree that was moved as one: the tree.
  void migrate_from_here(SsiPid pid, NodeId to, const Wish& wish, MigrateDone done);
  // Only the checks; every reason against it.
  Result<> check_from_here(SsiPid pid, const Wish& wish) const;
  void serve_link(std::unique_ptr<TlsLink> link) { moves_.serve(std::move(link)); }

  // To a guest, wherever it runs.
  void signal(SsiPid pid, int signo);

  // Where it runs: by the table, else at home.
  NodeId where(SsiPid pid) const;
  const Guests& guests() const { return guests_; }
  bool is_moving(SsiPid pid) const { return moves_.is_moving(pid); }
  std::size_t coming_in() const { return moves_.coming_in(); }
  bool is_deputy(pid_t pid) const { return deputies_.has(pid); }

  HomeNet& home_net() { return home_net_; }
  // A process of this home was started on that node, by a guest.
  void serve_birth(NodeId from, const nlohmann::json& message, HomeBirths::Done done) {
    home_births_.serve(from, message, std::move(done));
  }

  // What the group has decided and said, in its order.
  void on_event(const TableReplica::Event& event);
  void on_view();
  void on_tick();
  void on_signal(const group::Signal& signal);
  void on_guest_stopped(const group::GuestStopped& message);
  void on_guest_continued(const group::GuestContinued& message);
  void on_abandoned(NodeId from, SsiPid pid, Epoch epoch) { moves_.on_abandoned(from, pid, epoch); }

 private:
  Moves::Handlers move_handlers();
  Deputies::Handlers deputy_handlers();
  Guests::Handlers guest_handlers();
  StopReports::Handlers stop_handlers();
  // What moves when `pid` is to move; taken on the loop, used by a mover's thread.
  struct Mover {
    SsiPid pid;
    Below below = Below::kStays;
    std::optional<GuestRecord> record{};  // of a guest
    GuestPids pids{};
    std::uint64_t term = 0;  // of the cluster
  };
  Mover mover_of(SsiPid pid, const Wish& wish) const;
  Result<PreparedMove> look(const Mover& mover, NodeId to) const;
  // It may stand still already.
  Result<PreparedMove> prepare(const Mover& mover, NodeId to, bool again);
  // New clients of a tree that runs wait from now on; returns when it has let in all others.
  Result<> quiet_tree(const migrate::MoveTicket& ticket, pid_t first);
  Result<Moves::OutgoingMove> outgoing(const Mover& mover, NodeId to, bool again);
  // process_signals.cc
  void to_guest(group::Signal signal);
  void deliver(const group::Signal& signal);
  void signal_after_refresh(const group::Signal& signal, const migrate::StreamRef& terminal);

  void end_after_output(const GuestRecord& record, SsiPid pid, int wait_status);
  void guest_ended(const GuestRecord& record, SsiPid pid, int wait_status,
                   const std::string& reason);
  void guest_lost(const GuestRecord& record, const std::string& reason);
  void end_here(const GuestRecord& ended, SsiPid pid);
  void on_moved(const group::Commit& commit);
  void take_guest(GuestRecord record);
  void on_ended(const TableReplica::Ended& ended);
  bool lives_at_all(SsiPid first) const;
  void on_end_decided(const group::Retire& retire);
  void hold_homeless_guests();
  std::vector<PipeDemand::Guest> guests_on_demand() const;

  // process_deputies.cc
  void stand_down(const migrate::MoveTicket& ticket, const migrate::Carried& carried);
  void make_deputies(const migrate::CopyName& name, const migrate::Carried& carried);
  void fifo_opened(pid_t deputy, const std::string& fifo);
  void empty_fifos(const std::vector<pid_t>& pids, const migrate::Carried& carried);
  void make_deputy(const migrate::CopyName& name, const migrate::HeldOriginal& original,
                   const std::vector<int>& carried_signals, bool terminal_left);

  // process_births.cc
  Births::Handlers birth_handlers();
  HomeBirths::Handlers home_birth_handlers();
  void on_claimed(const group::TableEntry& entry);
  void join_guest(const group::TableEntry& entry);

  // process_network.cc
  Result<std::vector<std::string>> realm_network(NodeId home);
  Result<> hold_network(const migrate::MoveTicket& ticket,
                        const std::vector<net::MovedSocket>& sockets, bool only_new);
  void release_network(const migrate::MoveTicket& ticket);
  void network_moved(const group::Commit& commit);

  // process_recovery.cc: after a start or a time apart, the table against what is here.
  void on_established();
  void recover_guests();
  bool recover_guest(const migrate::CopyName& name);
  void claim(const GuestRecord& record);
  void drop_copy(const migrate::CopyName& name);
  void empty_fifos_left_by(const migrate::CopyName& name);
  void retire_missing();
  void go_on_with_streams(const GuestRecord& record);
  void recover_originals();
  void recover_deputies();

  boost::asio::io_context& io_;
  GroupPort& group_;
  migrate::FreezerRoot freezer_;
  const Options options_;
  const DaemonPaths& paths_ = options_.paths;
  Handlers handlers_;
  CarrierStreams streams_;
  CarrierFiles files_;
  HomeNet home_net_;
  Realms realms_;
  Guests guests_;
  StopReports stop_reports_;
  Deputies deputies_;
  std::unique_ptr<TakenFifos> taken_fifos_;
  // Guests that were coming home when somebody opened a named pipe of these deputies.
  std::map<SsiPid, std::set<pid_t>> opened_;
  MoveClaims claims_;
  Moves moves_;
  Births births_;
  HomeBirths home_births_;
  std::map<SsiPid, Epoch> ends_;  // proposed, not yet decided
  std::map<SsiPid, std::vector<group::Signal>>
      held_signals_;  // for guests that are moving from here
  PipeDemand pipe_demand_;
  std::set<SsiPid> flushing_;  // ended, their output is still on its way home
  std::set<SsiPid> held_;      // guests that stand still because they have no home or no cluster
  std::chrono::steady_clock::time_point table_seen_ =
      std::chrono::steady_clock::now();  // when it was valid last
};

}  // namespace ssi
