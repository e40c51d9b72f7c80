// A test's world: nodes with an ssid each (TableReplica on the simulated cluster) and processes
// that move between them by the protocol of a move, as far as the table is concerned: frozen copy
// at the target, frozen original at the source, Commit by the source, and after that whatever the
// table says.
//
// It checks after every event that no process runs twice and that what is carried out is the same
// everywhere, and at the end, when the faults have stopped, that everybody agrees and every process
// that could survive runs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ssid/cluster/sim/sim_network.h"
#include "ssid/registry/table_replica.h"

namespace ssi {

class ReplicaWorld {
 public:
  struct Options {
    std::uint32_t nodes = 3;
    std::uint64_t seed = 1;
    std::uint64_t grace_ms = 3'000;
    std::uint32_t processes = 8;
    std::uint32_t lost_percent = 2;  // of messages, sent again
  };
  explicit ReplicaWorld(Options options);
  ~ReplicaWorld();

  // Seconds of random moves, exits and faults.
  void chaos(std::uint64_t ms, bool memory_loss_anywhere);
  // Again and again: moves from everywhere, a cut into single nodes or pieces right in them, other
  // pieces, all whole.
  void cuts_into_moves(int rounds);
  // Ends all faults; then everybody must agree within `ms`.
  void settle(std::uint64_t ms);
  // Empty: all is well. Else what was broken first, and when.
  const std::string& broken() const { return broken_; }

  struct Counts {
    std::uint64_t moves = 0, refused = 0, unsure = 0, ended = 0, lost = 0, claimed = 0, drained = 0,
                  views = 0, faults = 0;
  };
  const Counts& counts() const { return counts_; }

  // For tests that tell a story instead.
  SimNetwork& network() { return network_; }
  TableReplica* replica(NodeId node);
  void start_ssid(NodeId node);
  void kill_ssid(NodeId node);
  void power_off(NodeId node);
  void power_on(NodeId node);
  bool begin_move(SsiPid process, NodeId to);
  void end_process(SsiPid process, std::int32_t wait_status);
  SsiPid add_process(NodeId home);
  // Asks the ssid of `at`; false: it has none that could.
  bool set_drained(NodeId at, NodeId node, bool drained);
  std::optional<NodeId> running_at(SsiPid process) const;
  bool all_established() const;
  std::string to_string() const;

 private:
  enum class Copy { kRunning, kFrozenSource, kFrozenTarget };
  struct Held {
    Copy copy = Copy::kRunning;
    Epoch epoch;
    std::uint64_t start_time = 0;
    std::uint64_t proposal = 0;  // of the Commit that is out
    std::uint64_t term = 0;      // of the move that brings it here
  };
  struct Machine {
    std::uint32_t boot = 1;
    std::map<SsiPid, Held> held;
    std::set<std::pair<SsiPid, Epoch>> dropped;  // copies of moves of which no commit can come
    std::vector<std::uint8_t> saved;
    std::unique_ptr<TableReplica> replica;
    std::uint64_t checked = 0;
    std::uint64_t generation = 0;         // of its ssid, for timers
    std::set<std::uint64_t> drains_open;  // proposals of its ssid that are not decided
  };

  void carry_out(NodeId node, const TableReplica::Effects& effects);
  void on_event(NodeId node, const TableReplica::Event& event);
  void compare(NodeId node);
  void check(NodeId node);
  void tick(NodeId node, std::uint64_t generation);
  void random_act();
  void random_fault(bool memory_loss_anywhere);
  void fail(const std::string& what);
  std::vector<NodeId> up_nodes() const;
  std::uint64_t pick(std::uint64_t n) { return network_.random()() % n; }

  Options options_;
  SimNetwork network_;
  std::map<NodeId, Machine> machines_;
  std::map<std::uint64_t, std::string> history_;  // operations carried out -> the table
  std::int32_t next_pid_ = 1;
  std::uint64_t next_start_ = 1;
  bool memory_was_lost_ = false;  // by more than the design promises to bear
  std::string broken_;
  Counts counts_;
};

}  // namespace ssi
