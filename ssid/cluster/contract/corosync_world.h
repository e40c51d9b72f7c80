// The contract suite's world on a running corosync: one process per node, each in its node's
// namespaces, that runs the real driver and reports what its handlers are told.
//
// The nodes are made by somebody else (the lab, or a script); given are the PIDs of a process in
// each, and a program that can cut, heal and restart:
//     HOOK cut 1:2,3     HOOK heal     HOOK restart 2
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "ssid/base/unique_fd.h"
#include "ssid/cluster/contract/contract_world.h"

namespace ssi {

struct CorosyncWorldOptions {
  std::map<NodeId, pid_t> nodes;  // any process in the node's namespaces
  std::string hook;               // empty: cuts and restarts are skipped
  std::uint64_t wait_ms = 60'000;
};

class CorosyncWorld : public ContractWorld {
 public:
  explicit CorosyncWorld(CorosyncWorldOptions options);
  ~CorosyncWorld() override;

  std::vector<NodeId> nodes() const override;
  void start(NodeId node) override;
  void kill(NodeId node) override;
  Result<> send(NodeId node, std::uint64_t seq, std::uint64_t size, Needs needs) override;
  const std::vector<Observation>& log(NodeId node) const override { return workers_.at(node).log; }
  ClusterInfo info(NodeId node) override;
  bool wait(const std::function<bool()>& done) override;

  bool can_cut() const override { return !options_.hook.empty(); }
  void cut(const std::vector<std::set<NodeId>>& sides) override;
  void heal() override;
  bool can_restart() const override { return !options_.hook.empty(); }
  void restart_corosync(NodeId node) override;

 private:
  struct Worker {
    pid_t pid = -1;
    UniqueFd socket;
    std::vector<Observation> log;
    std::string answer;  // to the last command; empty: none yet
  };

  void run_hook(const std::vector<std::string>& arguments);
  std::string ask(NodeId node, const std::string& command);
  void read_worker(Worker& worker);
  void read_all(int timeout_ms);

  CorosyncWorldOptions options_;
  std::map<NodeId, Worker> workers_;
};

}  // namespace ssi
