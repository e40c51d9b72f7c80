// What /cluster shows on this node: its files in etc/ are EtcControl's, and each read and write in
// proc/ is an op of the control socket, asked in the name of who reads or writes, with the same
// rights. Why something failed is in the log; the caller gets an errno.
//
// Owned by the daemon. Called on the file system's thread; works on the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fs/cluster/cluster_source.h"
#include "ssid/api/op_table.h"
#include "ssid/daemon/etc_control.h"
#include "ssid/daemon/node_views.h"
#include "ssid/daemon/process_control.h"

namespace ssi {

class DaemonClusterSource : public fs::ClusterSource {
 public:
  DaemonClusterSource(boost::asio::io_context& io, Cluster& cluster, GroupPort& group,
                      EtcControl& etc, const NodeViews& nodes, OpTable ops, const OpGate& gate)
      : io_(io),
        cluster_(cluster),
        self_(cluster.self()),
        group_(group),
        etc_(etc),
        nodes_(nodes),
        ops_(std::move(ops)),
        gate_(gate) {}

  NodeId self() const override { return self_; }
  std::vector<NodeId> nodes() const override { return nodes_.nodes(); }
  std::shared_ptr<const SharedFiles> etc() const override { return etc_.files(); }
  bool etc_writable() const override { return etc_.writable(); }
  void change_etc(etc::Change change, std::function<void(int)> done) override;
  void owner_of(SsiPid pid, std::function<void(int, uid_t)> done) override;
  void list_processes(std::function<void(int, std::vector<SsiPid>)> done) override;
  void read_process(SsiPid pid, fs::ProcFile file, fs::ClusterCaller caller,
                    std::function<void(int, std::string)> done) override;
  void write_process(SsiPid pid, fs::ProcFile file, std::string text, fs::ClusterCaller caller,
                     std::function<void(int)> done) override;

 private:
  using Answered = std::function<void(Result<nlohmann::json>)>;
  void ask(const std::string& op, nlohmann::json args, uid_t uid, Answered done);

  boost::asio::io_context& io_;
  Cluster& cluster_;
  const NodeId self_;  // for the file system's thread
  GroupPort& group_;
  EtcControl& etc_;
  const NodeViews& nodes_;
  const OpTable ops_;
  const OpGate& gate_;
};

}  // namespace ssi
