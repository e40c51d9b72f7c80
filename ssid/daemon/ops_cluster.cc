#include <algorithm>

#include "ssid/daemon/ops.h"

namespace ssi::ops {

void cluster_status(OpContext& context, const OpCaller&, const json&, OpDone done) {
  const View& view = context.group.view();
  const auto& up = context.cluster.up();
  json nodes = json::array();
  for (const Node& node : context.cluster.nodes()) {
    const bool machine_up = std::find(up.begin(), up.end(), node.id) != up.end();
    const char* state = view.has(node.id) ? "UP" : machine_up ? "JOINING" : "DOWN";
    json n{{"id", node.id.value},
           {"name", node.name},
           {"addresses", node.addresses},
           {"state", state},
           {"drained", context.group.drained(node.id)}};
    if (!node.addresses.empty()) n["address"] = node.addresses.front();
    if (const NodeLoads::Heard* heard = context.balancer.loads().find(node.id);
        heard && view.has(node.id)) {
      const group::NodeInfo& i = heard->info;
      n.update({{"cpus", i.cpus},
                {"cpu_speed_mhz", i.cpu_speed_mhz},
                {"load", i.runnable},
                {"mem_total_bytes", i.mem_total},
                {"mem_free_bytes", i.mem_free},
                {"guests_in", i.guests_in},
                {"guests_out", i.guests_out},
                {"accepting", i.accepting},
                {"version", i.version}});
    }
    nodes.push_back(std::move(n));
  }
  done(json{{"self", context.group.self().value},
            {"nodes", nodes},
            {"quorate", view.quorate},
            {"table_valid", context.group.table_valid()},
            {"members", view.members.size()},
            {"expected", context.cluster.nodes().size()},
            {"needed", context.cluster.nodes().size() / 2 + 1}});
}

}  // namespace ssi::ops
