// The simulator's cluster: several nodes in one process, on a simulated clock and network, all from
// one seed.
//
// It keeps the promises of cluster.h and no more. In particular it does what corosync does when a
// ring breaks: a node that is cut off may have delivered messages that the others never get; the
// others skip what is lost and deliver later messages of those who stay (the gap of promise 4)
// before the new view; nodes install a new ring at different times, and may be interrupted in it;
// processes join and leave by messages in the same order.
//
//     ring        what corosync forms on a set of nodes that hear each other: one log of messages,
//     which each
//                 member receives at its own times and delivers without gaps
//     change()    after partition, heal, crash, boot: the old rings are closed and new ones formed
//
// Owned by a test; one thread. Things happen in step() and run_...() only; faults are made between
// them or by at(), not inside a handler of a cluster.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "ssid/cluster/cluster.h"

namespace ssi {

class SimCluster;

class SimNetwork {
 public:
  struct Options {
    std::uint32_t nodes = 3;
    std::uint64_t seed = 1;
    std::uint64_t message_us_min = 50;
    std::uint64_t message_us_max = 2'000;
    std::uint32_t lost_percent = 2;         // sent again, ten times later
    std::uint64_t detect_us = 300'000;      // until a broken ring is noticed
    std::uint64_t install_us_max = 20'000;  // by how much nodes differ in installing a new ring
  };
  explicit SimNetwork(Options options);
  ~SimNetwork();

  std::uint64_t now_ms() const { return now_us_ / 1000; }
  std::uint64_t now_us() const { return now_us_; }
  void at(std::uint64_t time_us, std::function<void()> what);
  bool step();  // one event; false: nothing is left to happen
  void run_for_ms(std::uint64_t ms);
  bool run_until(const std::function<bool()>& done, std::uint64_t ms_max);

  // The ssid process of a node that is up. The network keeps it until the process or the node dies.
  SimCluster& start_process(NodeId node);
  void kill_process(NodeId node);
  void power_off(NodeId node);
  void power_on(NodeId node);
  // Corosync of that node starts anew: its process is in no group for a while.
  void restart_corosync(NodeId node);
  // Nodes in different sets don't hear each other; who is in none hears nobody.
  void partition(std::vector<std::set<NodeId>> sides);
  void heal();

  bool is_up(NodeId node) const;
  SimCluster* process(NodeId node);  // nullptr: there is none
  std::mt19937_64& random() { return random_; }

 private:
  friend class SimCluster;

  struct Message {
    enum class Kind { kData, kJoin, kLeave };
    Kind kind = Kind::kData;
    NodeId from;
    std::uint64_t process = 0;
    std::vector<std::uint8_t> bytes;
  };
  struct Ring {
    std::set<NodeId> members;
    std::map<NodeId, std::uint64_t> group;  // the processes it starts with
    std::vector<Message> log;
    bool closed = false;
  };
  // A node's place in a ring.
  struct Seat {
    std::shared_ptr<Ring> ring;
    std::set<std::size_t> received;
    std::size_t delivered = 0;  // all of the log below this
  };
  struct Machine {
    bool up = true;
    std::unique_ptr<SimCluster> process;
    std::deque<Message> out;
    bool token_wanted = false;
    Seat seat;
    std::shared_ptr<Seat> next;             // a ring that is formed and not yet installed here
    std::set<NodeId> together;              // who comes along from the same old ring to `next`
    std::map<NodeId, std::uint64_t> group;  // processes of the group as this node knows them
  };
  struct Happening {
    std::uint64_t time_us;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Happening& other) const {
      return std::tie(other.time_us, other.order) < std::tie(time_us, order);
    }
  };

  Machine& machine(NodeId node) { return machines_.at(node); }
  bool hears(NodeId a, NodeId b) const;
  std::uint64_t delay();
  void change_later();
  void form_rings();
  void form_ring(const std::set<NodeId>& members);
  void send_missing(const std::shared_ptr<Ring>& ring);
  void install(NodeId node, const std::shared_ptr<Seat>& seat);
  void enqueue(NodeId node, Message message);
  void want_token(NodeId node);
  void take_token(NodeId node);
  void receive(NodeId node, const std::shared_ptr<Ring>& ring, std::size_t index);
  void deliver_ready(NodeId node);
  void deliver(NodeId node, const Message& message);
  void set_group(NodeId node, std::map<NodeId, std::uint64_t> group);

  Options options_;
  std::mt19937_64 random_;
  std::uint64_t now_us_ = 0;
  std::uint64_t order_ = 0;
  std::uint64_t last_process_ = 0;
  std::priority_queue<Happening> happenings_;
  std::map<NodeId, Machine> machines_;
  std::vector<Node> nodes_;
  std::vector<std::set<NodeId>> sides_;
  std::size_t token_side_ = 0;
  bool change_pending_ = false;
};

// One ssid process as its code sees the cluster.
class SimCluster : public Cluster {
 public:
  SimCluster(SimNetwork& network, NodeId node, std::uint64_t process)
      : network_(network), self_(node), process_(process) {}

  NodeId self() const override { return self_; }
  const std::vector<Node>& nodes() const override { return network_.nodes_; }
  const std::vector<NodeId>& up() const override { return up_; }
  const View& view() const override { return view_; }
  bool may_commit() const override {
    return view_.quorate && up_.size() * 2 > network_.nodes_.size();
  }
  Result<> start(ClusterHandlers handlers) override;
  Result<> send(std::span<const std::uint8_t> message, Needs needs = Needs::kNothing) override;

 private:
  friend class SimNetwork;
  void publish(const std::map<NodeId, std::uint64_t>& before,
               const std::map<NodeId, std::uint64_t>& after);

  SimNetwork& network_;
  NodeId self_;
  std::uint64_t process_;
  ClusterHandlers handlers_;
  std::vector<NodeId> up_;
  View view_;
};

}  // namespace ssi
