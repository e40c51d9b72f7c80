// A test's world: nodes with an EtcReplica each on the simulated cluster, disks that take their
// time, and writers. It checks after every event that what is carried out is the same everywhere,
// and at the end, when the faults have stopped, that everybody has the same files, that what a
// writer was told to be done is there once and in order, and that what was refused is not.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fs/etc/etc_replica.h"
#include "ssid/cluster/sim/sim_network.h"

namespace ssi {

class EtcWorld {
 public:
  struct Options {
    std::uint32_t nodes = 3;
    std::uint64_t seed = 1;
  };
  explicit EtcWorld(Options options);

  // Seconds of random writes and faults.
  void chaos(std::uint64_t ms);
  // Ends all faults; then everybody must agree within `ms`.
  void settle(std::uint64_t ms);
  // Empty: all is well. Else what was broken first, and when.
  const std::string& broken() const { return broken_; }

  struct Counts {
    std::uint64_t done = 0, refused = 0, unsure = 0, unheard = 0, views = 0, faults = 0;
  };
  const Counts& counts() const { return counts_; }

  // For tests that tell a story instead.
  SimNetwork& network() { return network_; }
  EtcReplica* replica(NodeId node) { return machines_.at(node).replica.get(); }
  void start(NodeId node);
  void kill(NodeId node);
  void power_off(NodeId node);
  void power_on(NodeId node);
  void propose(NodeId node, etc::Change change);
  // Of the last change that was proposed there and decided.
  std::optional<EtcOutcome> decided(NodeId node) const { return machines_.at(node).decided; }
  bool all_established() const;
  std::string to_string() const;

 private:
  struct Outgoing {
    std::uint64_t after_save = 0;
    std::vector<std::uint8_t> frame;
  };
  struct Machine {
    std::unique_ptr<EtcReplica> replica;
    std::uint64_t generation = 0;
    std::vector<std::uint8_t> disk;
    std::uint64_t saves = 0, saved = 0;
    std::deque<Outgoing> outbox;
    std::optional<EtcOutcome> decided;
    std::string line;  // that is being written
  };

  void carry_out(NodeId node, EtcReplica::Effects effects);
  void send_ready(NodeId node);
  void check(NodeId node);
  void tick(NodeId node, std::uint64_t generation);
  void random_write();
  void random_fault();
  void fail(const std::string& what);
  std::uint64_t pick(std::uint64_t n) { return network_.random()() % n; }

  Options options_;
  SimNetwork network_;
  std::map<NodeId, Machine> machines_;
  std::map<std::uint64_t, std::uint64_t> history_;  // changes carried out -> their hash
  std::uint64_t last_line_ = 0;
  std::vector<std::string> done_;  // lines that were told to be written, in the order told
  std::set<std::string> refused_;
  std::string broken_;
  Counts counts_;
};

}  // namespace ssi
