// What the commands ask of ssid: one handler an op, in files by subject (ops_cluster.cc,
// ops_drain.cc, ops_migrate.cc, ops_loadlevel.cc, ops_ssips.cc), joined in one table.
// docs/control-socket.md tells arguments and answers.
//
// A handler that concerns a process on another node passes the question on (pass_on) and gives that
// node's answer. Control loop only.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "ssid/api/op_table.h"
#include "ssid/base/process_handle.h"
#include "ssid/daemon/balancer.h"
#include "ssid/daemon/drain_control.h"
#include "ssid/daemon/etc_control.h"
#include "ssid/daemon/event_log.h"
#include "ssid/daemon/process_control.h"
#include "ssid/daemon/remote_runs.h"
#include "ssid/daemon/requests.h"

namespace ssi {

struct OpContext {
  boost::asio::io_context& io;
  GroupPort& group;
  Cluster& cluster;
  ProcessControl& control;
  Balancer& balancer;
  Requests& requests;
  DrainControl& drains;
  EventLog& events;
  RemoteRuns& remote_runs;
  EtcControl& etc;
};

struct OpCaller {
  std::uint32_t uid = 0;
};
using OpDone = std::function<void(Result<nlohmann::json>)>;
using Handler =
    std::function<void(OpContext&, const OpCaller&, const nlohmann::json& args, OpDone)>;

struct OpRow {
  const char* name;
  Privilege privilege;
  bool needs_quorum;
  Handler handler;
};
// Every op that answers once. internal.* are asked by other nodes only.
const std::vector<OpRow>& op_rows();

// Those that answer in parts, or act on who asks; ops_migrate.cc, ops_runon.cc, ops.cc.
void add_migrate_op(OpContext& context, OpTable& table);
void add_runon_ops(OpContext& context, OpTable& table);

// The table for the control socket.
OpTable control_ops(OpContext& context);
// What another node asks.
void serve_request(OpContext& context, const group::Request& request, Requests::Done done);

// NODE:PID, or a PID alone: of the node in whose range it is, or of whatever home the process has
// that was started elsewhere under it.
Result<SsiPid> pid_named(const GroupPort& group, const std::string& text);

namespace ops {
using nlohmann::json;
void cluster_status(OpContext&, const OpCaller&, const json&, OpDone);
void cluster_bring(OpContext&, const OpCaller&, const json&, OpDone);
// Answers in parts, to who stays to watch.
void cluster_drain(OpContext&, const json&, std::shared_ptr<Responder>);
// One try, from any node; kBusy: another may do.
void migrate(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_enable(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_disable(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_status(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_why(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_on(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_off(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_list(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_add(OpContext&, const OpCaller&, const json&, OpDone);
void loadlevel_remove(OpContext&, const OpCaller&, const json&, OpDone);
void ssips(OpContext&, const OpCaller&, const json&, OpDone);
// Between nodes.
void local_processes(OpContext&, const OpCaller&, const json&, OpDone);
void local_balancing(OpContext&, const OpCaller&, const json&, OpDone);
void local_drain(OpContext&, const OpCaller&, const json&, OpDone);
void local_network(OpContext&, NodeId asker, OpDone);
void local_net_hold(OpContext&, NodeId asker, const json&, OpDone);
void local_net_release(OpContext&, NodeId asker, const json&, OpDone);
void local_why_moved(OpContext&, const OpCaller&, const json&, OpDone);

// The process that args["pid"] names, as a user on this node writes it.
Result<SsiPid> pid_of(OpContext&, const json& args);
// One that runs on this node. kGone: it does not, or not any more.
Result<ProcessHandle> process_here(OpContext&, SsiPid pid);
// args["node"] as text, a name or a number; nullopt: not given.
std::optional<std::string> node_argument(const json& args);
// NODE of a command: a number, a name, or `home` if it concerns a process.
Result<NodeId> node_of(OpContext&, const std::string& text, SsiPid pid);
}  // namespace ops

}  // namespace ssi
