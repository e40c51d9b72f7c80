#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kMoveTimeout = std::chrono::minutes(10);

double ms(std::uint64_t us) { return static_cast<double>(us) / 1000; }

json report_json(SsiPid pid, NodeId from, NodeId to, const migrate::MoveReport& r) {
  return {{"pid", pid.to_string()},
          {"from", from.value},
          {"to", to.value},
          {"frozen_ms", ms(r.frozen_us)},
          {"check_ms", ms(r.check_us)},
          {"copy_ms", ms(r.copy_us)},
          {"freeze_ms", ms(r.freeze_us)},
          {"dump_ms", ms(r.dump_us)},
          {"send_ms", ms(r.send_us)},
          {"restore_ms", ms(r.restore_us)},
          {"commit_ms", ms(r.commit_us)},
          {"memory_bytes", r.memory_bytes},
          {"copied_bytes", r.copied_bytes},
          {"frozen_bytes", r.frozen_bytes},
          {"file_bytes", r.file_bytes},
          {"why_not_copied", r.why_not_copied}};
}

Result<NodeId> target_of(OpContext& context, const json& args, SsiPid pid, NodeId from) {
  const auto it = args.find("node");
  const std::string text = it == args.end()  ? ""
                           : it->is_string() ? it->get<std::string>()
                                             : it->dump();
  if (text != "best") return node_of(context, text, pid);
  const NodeId best = context.balancer.best_node_for(from, pid.home, 1, 0);
  if (!best) return Error("no other node would do");
  return best;
}

}  // namespace

void migrate(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  const auto pid = pid_of(context, args);
  if (!pid) return done(pid.error());
  const NodeId from = context.control.where(*pid);
  if (from != context.group.self()) {
    json passed = args;
    passed["pid"] = std::to_string(pid->home.value) + ":" + std::to_string(pid->pid);
    return context.requests.ask(from, "migrate", passed, caller.uid, kMoveTimeout, std::move(done));
  }
  const auto to = target_of(context, args, *pid, from);
  if (!to) return done(to.error());
  if (*to == from) {
    return done(Error("it runs on node " + std::to_string(to->value) + " already"));
  }
  if (args.value("dry_run", false)) {
    return context.control.check_from_here(*pid, [=](Result<> checked) {
      if (!checked) return done(checked.error());
      done(json{
          {"pid", pid->to_string()}, {"from", from.value}, {"to", to->value}, {"dry_run", true}});
    });
  }
  context.control.migrate_from_here(*pid, *to, {}, [=](Result<migrate::MoveReport> report) {
    if (!report) return done(report.error());
    done(report_json(*pid, from, *to, *report));
  });
}

}  // namespace ssi::ops
