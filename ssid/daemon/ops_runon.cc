// runon: who asks goes to another node, and becomes its command there.
#include "ssid/daemon/ops.h"

namespace ssi {
namespace {
using nlohmann::json;

// The asker reads where it will go, and leaves: with a connection to ssid it could not be moved.
void runon(OpContext& context, std::shared_ptr<const Caller> caller, const json& args,
           std::shared_ptr<Responder> responder) {
  const NodeId self = context.group.self();
  if (caller->pid == 0) return responder->error(Error("it does not run on this node"));
  const SsiPid pid{self, caller->pid};
  const std::string wanted = args.value("node", "");
  auto to = wanted == "best" ? Result<NodeId>(context.balancer.best_node_for({}, self, 1, 0))
                             : ops::node_of(context, wanted, pid);
  if (!to) return responder->error(to.error());
  if (*to == self || !*to) return responder->reply({{"node", self.value}, {"stays", true}});
  if (!context.group.view().has(*to)) {
    return responder->error(Error("node " + std::to_string(to->value) + " is not up"));
  }
  (void)responder->more({{"node", to->value}, {"name", context.group.name_of(*to)}});
  responder->on_cancel([&context, caller, to = *to, kept = responder] {
    auto process = caller->process.duplicate();
    if (process) context.remote_runs.start(std::move(*process), context.group.self(), to);
  });
}

void outcome(OpContext& context, std::shared_ptr<const Caller> caller,
             std::shared_ptr<Responder> responder) {
  auto told = context.remote_runs.outcome(caller->pid);
  if (!told) return responder->error(told.error());
  responder->reply(json::object());
}

}  // namespace

void add_runon_ops(OpContext& context, OpTable& table) {
  table.push_back(
      {"runon", Privilege::kAnyone, true, [&context](auto caller, json args, auto responder) {
         runon(context, std::move(caller), args, std::move(responder));
       }});
  table.push_back(
      {"runon.outcome", Privilege::kAnyone, false, [&context](auto caller, json, auto responder) {
         outcome(context, std::move(caller), std::move(responder));
       }});
}

}  // namespace ssi
