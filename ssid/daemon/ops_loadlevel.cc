#include "ssid/daemon/node_processes.h"
#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kAskTimeout = std::chrono::seconds(5);

// Passes the question to the node where the process runs; false: it is here, as `local` in our
// /proc.
bool pass_on(OpContext& context, const char* op, const OpCaller& caller, const json& args,
             SsiPid pid, const OpDone& done) {
  const NodeId where = context.control.where(pid);
  if (where == context.group.self()) return false;
  json passed = args;
  passed["pid"] = pid.to_string();
  context.requests.ask(where, op, passed, caller.uid, kAskTimeout, done);
  return true;
}

void enable(OpContext& context, const OpCaller& caller, const json& args, bool on, OpDone done) {
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  if (pass_on(context, on ? "loadlevel.enable" : "loadlevel.disable", caller, args, *pid, done))
    return;
  const auto local = process_here(context, *pid);
  if (!local) return done(local.error());
  const bool pin = !on && args.value("pin", false);
  EnabledProcesses& enabled = context.balancer.enabled();
  const auto set = pin  ? enabled.pin(local->pid(), caller.uid)
                   : on ? enabled.enable(local->pid(), caller.uid)
                        : enabled.disable(local->pid(), caller.uid);
  if (!set) return done(set.error());
  done(json{{"pid", pid->to_string()}, {"enabled", on}});
}

// Tells all nodes, or one.
void balance(OpContext& context, const OpCaller& caller, const json& args, bool on, OpDone done) {
  std::vector<NodeId> nodes;
  if (const auto wanted = node_argument(args)) {
    const auto node = node_of(context, *wanted, {});
    if (!node) return done(node.error());
    nodes = {*node};
  } else {
    nodes = context.group.view().members;
  }
  if (nodes.empty()) nodes = {context.group.self()};
  auto left = std::make_shared<std::size_t>(nodes.size());
  auto result = std::make_shared<json>(json{{"balancing", on}, {"nodes", json::array()}});
  for (const NodeId node : nodes) {
    auto answered = [=](Result<json> answer) {
      json row{{"node", node.value}, {"ok", answer.ok()}};
      if (!answer) row["error"] = answer.error().message();
      (*result)["nodes"].push_back(row);
      if (--*left > 0) return;
      for (const json& r : (*result)["nodes"]) {
        if (!r["ok"].get<bool>()) {
          return done(Error("node " + r["node"].dump() + ": " + r["error"].get<std::string>()));
        }
      }
      done(*result);
    };
    if (node == context.group.self()) {
      local_balancing(context, caller, {{"on", on}}, answered);
    } else {
      context.requests.ask(node, "internal.balancing", {{"on", on}}, caller.uid, kAskTimeout,
                           answered);
    }
  }
}

constexpr const char* kListFile = "loadlevellist";
constexpr int kListTries_max = 20;

// Done when every node that answers in time has the change. Somebody who changes the list at the
// same time is not overwritten: then it is read and changed once more.
void change_list(OpContext& context, const std::string& path, bool add, int tries, OpDone done) {
  const auto files = context.etc.files();
  const etc::File* file = files->find(kListFile);
  const auto list = LoadLevelList::parse(file != nullptr ? file->contents : "");
  const auto changed = add ? list.add(path) : list.remove(path);
  if (!changed) return done(changed.error());
  etc::Change change;
  change.name = kListFile;
  change.contents = changed->text();
  change.mtime_ns = etc_time_ns();
  change.mode = file != nullptr ? file->mode : 0644;
  change.expects = file != nullptr ? file->version : etc::kNoFile;
  context.etc.change(std::move(change),
                     [=, &context, paths = changed->paths()](EtcOutcome outcome) {
                       if (outcome == EtcOutcome::kDone) return done(json{{"paths", paths}});
                       if (outcome == EtcOutcome::kChanged && tries < kListTries_max) {
                         return change_list(context, path, add, tries + 1, done);
                       }
                       done(etc_error(outcome, kListFile));
                     });
}

// The last move of a process that runs here was decided by the node from which it came.
void why_it_came(OpContext& context, SsiPid pid,
                 std::function<void(std::vector<std::string>)> done) {
  const GuestRecord* record = context.control.guests().find_with(pid);
  if (record == nullptr || record->ticket.from == context.group.self()) return done({});
  const NodeId from = record->ticket.from;
  const std::string move =
      "moved " + std::to_string(from.value) + " -> " + std::to_string(context.group.self().value);
  context.requests.ask(from, "internal.why_moved", {{"pid", pid.to_string()}}, 0, kAskTimeout,
                       [move, done = std::move(done)](Result<json> answer) {
                         if (!answer)
                           return done({move + "; why is not known: " + answer.error().message()});
                         done(answer->value("reasons", std::vector<std::string>()));
                       });
}

}  // namespace

void local_balancing(OpContext& context, const OpCaller&, const json& args, OpDone done) {
  context.balancer.set_balancing(args.value("on", true));
  done(json::object());
}

void local_why_moved(OpContext& context, const OpCaller&, const json& args, OpDone done) {
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  done(json{{"reasons", context.balancer.why_moved(*pid)}});
}

void loadlevel_enable(OpContext& c, const OpCaller& caller, const json& args, OpDone done) {
  enable(c, caller, args, true, std::move(done));
}
void loadlevel_disable(OpContext& c, const OpCaller& caller, const json& args, OpDone done) {
  enable(c, caller, args, false, std::move(done));
}
void loadlevel_on(OpContext& c, const OpCaller& caller, const json& args, OpDone done) {
  balance(c, caller, args, true, std::move(done));
}
void loadlevel_off(OpContext& c, const OpCaller& caller, const json& args, OpDone done) {
  balance(c, caller, args, false, std::move(done));
}
void loadlevel_add(OpContext& c, const OpCaller&, const json& args, OpDone done) {
  change_list(c, args.value("path", ""), true, 1, std::move(done));
}
void loadlevel_remove(OpContext& c, const OpCaller&, const json& args, OpDone done) {
  change_list(c, args.value("path", ""), false, 1, std::move(done));
}

void loadlevel_list(OpContext& context, const OpCaller&, const json&, OpDone done) {
  json problems = json::array();
  for (const auto& p : context.balancer.enabled().list().problems()) problems.push_back(p.what);
  done(json{{"paths", context.balancer.enabled().list().paths()}, {"problems", problems}});
}

void loadlevel_status(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  if (!args.contains("pid")) {
    json enabled = json::array();
    const NodeProcesses here(context.group, context.control);
    for (const ProcessSample& p : context.balancer.last_sample().scan.processes) {
      if (!context.balancer.enabled().tracker().enabled(p.key)) continue;
      const auto process = here.find(p.key);
      const auto now = context.balancer.enabled().look(p.key.pid);
      if (!process || !now || now->key != p.key) continue;  // another node's, or ended meanwhile
      enabled.push_back({{"pid", process->pid.to_string()},
                         {"comm", p.comm},
                         {"reason", context.balancer.enabled().tracker().reason(p.key)}});
    }
    return done(json{{"balancing", context.balancer.balancing()}, {"enabled", enabled}});
  }
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  if (pass_on(context, "loadlevel.status", caller, args, *pid, done)) return;
  const auto local = process_here(context, *pid);
  if (!local) return done(local.error());
  (void)context.balancer.enabled().look(local->pid());  // it may be younger than the last sample
  const ProcessKey key{local->pid(), local->start_ticks()};
  done(json{{"pid", pid->to_string()},
            {"enabled", context.balancer.enabled().tracker().enabled(key)},
            {"reason", context.balancer.enabled().tracker().reason(key)},
            {"node", context.group.self().value}});
}

void loadlevel_why(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  if (pass_on(context, "loadlevel.why", caller, args, *pid, done)) return;
  const auto local = process_here(context, *pid);
  if (!local) return done(local.error());
  const pid_t here = local->pid();
  json answer{{"pid", pid->to_string()}, {"node", context.group.self().value}};
  if (auto checked = context.control.check_from_here(*pid, {.of_root = caller.uid == 0});
      !checked) {
    answer["cantmove"] = checked.error().message();
  }
  why_it_came(context, *pid, [=, &context](std::vector<std::string> came) {
    std::vector<std::string> reasons = context.balancer.why(*pid, here);
    reasons.insert(reasons.begin() + (reasons.empty() ? 0 : 1), came.begin(), came.end());
    json told = answer;
    told["reasons"] = reasons;
    done(told);
  });
}

}  // namespace ssi::ops
