#include "ssid/daemon/ops.h"

#include <charconv>

namespace ssi {
using nlohmann::json;

const std::vector<OpRow>& op_rows() {
  static const std::vector<OpRow> rows = {
      {"cluster.status", Privilege::kAnyone, false, ops::cluster_status},
      {"cluster.bring", Privilege::kRoot, true, ops::cluster_bring},
      {"loadlevel.enable", Privilege::kOwnerOfPid, false, ops::loadlevel_enable},
      {"loadlevel.disable", Privilege::kOwnerOfPid, false, ops::loadlevel_disable},
      {"loadlevel.status", Privilege::kAnyone, false, ops::loadlevel_status},
      {"loadlevel.why", Privilege::kAnyone, false, ops::loadlevel_why},
      {"loadlevel.on", Privilege::kRoot, false, ops::loadlevel_on},
      {"loadlevel.off", Privilege::kRoot, false, ops::loadlevel_off},
      {"loadlevel.list", Privilege::kAnyone, false, ops::loadlevel_list},
      {"loadlevel.add", Privilege::kRoot, true, ops::loadlevel_add},
      {"loadlevel.remove", Privilege::kRoot, true, ops::loadlevel_remove},
      {"ssips", Privilege::kAnyone, false, ops::ssips},
  };
  return rows;
}

OpTable control_ops(OpContext& context) {
  OpTable table;
  for (const OpRow& row : op_rows()) {
    table.push_back(
        {row.name, row.privilege, row.needs_quorum,
         [&context, handler = row.handler](std::shared_ptr<const Caller> caller, json args,
                                           std::shared_ptr<Responder> responder) {
           handler(context, {caller->uid}, args, [responder](Result<json> result) {
             if (result) {
               responder->reply(*result);
             } else {
               responder->error(result.error());
             }
           });
         }});
  }
  add_migrate_op(context, table);
  add_runon_ops(context, table);
  table.push_back(
      {"cluster.events", Privilege::kAnyone, false,
       [&context](std::shared_ptr<const Caller>, json args, std::shared_ptr<Responder> r) {
         if (!args.value("follow", false)) {
           return r->reply({{"events", context.events.recent()}});
         }
         context.events.follow(std::move(r));
       }});
  table.push_back(
      {"cluster.drain", Privilege::kRoot, true,
       [&context](std::shared_ptr<const Caller>, json args, std::shared_ptr<Responder> r) {
         ops::cluster_drain(context, args, std::move(r));
       }});
  return table;
}

void serve_request(OpContext& context, const group::Request& request, Requests::Done done) {
  if (request.op == "internal.abandon") {
    if (auto name = migrate::CopyName::parse(request.json)) {
      context.control.on_abandoned(request.from, name->pid, name->epoch);
    }
    return done(json::object());
  }
  // Asked of all at once: who answers has carried out what the group ordered before.
  if (request.op == "internal.ping") return done(json::object());
  const json args = json::parse(request.json, nullptr, false);
  if (!args.is_object()) return done(Error("a damaged request"));
  if (request.op == "internal.processes") {
    return ops::local_processes(context, {request.uid}, args, std::move(done));
  }
  if (request.op == "internal.balancing") {
    return ops::local_balancing(context, {request.uid}, args, std::move(done));
  }
  if (request.op == "internal.drain") {
    return ops::local_drain(context, {request.uid}, args, std::move(done));
  }
  if (request.op == "internal.migrate") {
    return ops::migrate(context, {request.uid}, args, std::move(done));
  }
  if (request.op == "internal.why_moved") {
    return ops::local_why_moved(context, {request.uid}, args, std::move(done));
  }
  if (request.op == "internal.network") {
    return ops::local_network(context, request.from, std::move(done));
  }
  if (request.op == "internal.net_hold") {
    return ops::local_net_hold(context, request.from, args, std::move(done));
  }
  if (request.op == "internal.net_release") {
    return ops::local_net_release(context, request.from, args, std::move(done));
  }
  if (request.op == "internal.birth") {
    return context.control.serve_birth(request.from, args, [done](const Result<>& born) {
      done(born ? Result<json>(json::object()) : Result<json>(born.error()));
    });
  }
  if (request.op == "internal.owner") {
    const auto owner = local_process_owner(args.value("pid", 0));
    if (!owner) return done(owner.error());
    return done(json{{"real_uid", owner->real_uid}, {"saved_uid", owner->saved_uid}});
  }
  for (const OpRow& row : op_rows()) {
    if (request.op == row.name) return row.handler(context, {request.uid}, args, std::move(done));
  }
  done(Error(ErrorCode::kUsage, "this node does not know '" + request.op + "'"));
}

Result<SsiPid> pid_named(const GroupPort& group, const std::string& text) {
  SSI_ASSIGN(SsiPid pid, SsiPid::parse(text, group.self()));
  if (text.find(':') != std::string::npos || group.find(pid)) return pid;
  const std::vector<group::TableEntry> entries = group.entries();
  const auto is_it = [&](const group::TableEntry& e) { return e.process.pid == pid.pid; };
  const auto found = std::ranges::find_if(entries, is_it);
  // Of two, each has to be named with its home.
  if (found != entries.end() && std::ranges::count_if(entries, is_it) == 1) pid = found->process;
  return pid;
}

namespace ops {

Result<SsiPid> pid_of(OpContext& context, const json& args) {
  SSI_ASSIGN(const std::string text, pid_argument(args));
  return pid_named(context.group, text);
}

Result<ProcessHandle> process_here(OpContext& context, SsiPid pid) {
  const Error gone(ErrorCode::kGone, "no such process");
  pid_t local = pid.pid;
  if (const GuestRecord* record = context.control.guests().find_with(pid)) {
    const auto host_pid = context.control.guests().host_pid(*record, pid);
    if (!host_pid) return gone;
    local = *host_pid;
  } else if (pid.home != context.group.self()) {
    return gone;
  }
  auto process = ProcessHandle::open(local);
  if (!process) return gone;
  return process;
}

std::optional<std::string> node_argument(const json& args) {
  const auto it = args.find("node");
  if (it == args.end() || it->is_null()) return std::nullopt;
  return it->is_string() ? it->get<std::string>() : it->dump();
}

Result<NodeId> node_of(OpContext& context, const std::string& text, SsiPid pid) {
  if (text == "home" && pid.home) return pid.home;
  NodeId wanted;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), wanted.value);
  const bool number = bad == std::errc{} && end == text.data() + text.size();
  for (const Node& node : context.cluster.nodes()) {
    if (number ? node.id == wanted : node.name == text) return node.id;
  }
  return Error(ErrorCode::kUsage, "no node '" + text + "' in this cluster");
}

}  // namespace ops

}  // namespace ssi
