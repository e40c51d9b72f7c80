// What other nodes ask a home about the network of its guests.
#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

Result<HomeNet::Hold> parse_hold(NodeId home, NodeId asker, const json& args) {
  try {
    HomeNet::Hold h{.pid = {home, args.at("pid").get<pid_t>()},
                    .from = NodeId{args.at("from").get<std::uint32_t>()},
                    .to = NodeId{args.at("to").get<std::uint32_t>()},
                    .term = args.at("term").get<std::uint64_t>(),
                    .only_new = args.at("only_new").get<bool>()};
    if (h.from != asker) return Error("only the node where it runs may say so");
    for (const std::string& text : args.at("sockets").get<std::vector<std::string>>()) {
      SSI_ASSIGN(net::MovedSocket socket, net::parse_moved_socket(text));
      h.sockets.push_back(std::move(socket));
    }
    return h;
  } catch (const json::exception&) {
    return Error("a damaged request");
  }
}

// Whether the process is one of ours that runs where the asker is.
bool runs_at(OpContext& context, SsiPid pid, NodeId asker) {
  const auto entry = context.group.find(pid);
  return entry && entry->where == asker;
}

}  // namespace

void local_network(OpContext& context, NodeId asker, OpDone done) {
  context.control.home_net().connect(asker, [done](Result<net::HomeAddresses> found) {
    if (!found) return done(std::move(found).error());
    done(json{{"addresses", found->all}, {"source", found->source}, {"source6", found->source6}});
  });
}

void local_net_hold(OpContext& context, NodeId asker, const json& args, OpDone done) {
  auto hold = parse_hold(context.group.self(), asker, args);
  if (!hold) return done(std::move(hold).error());
  if (!runs_at(context, hold->pid, asker)) return done(Error("it does not run there"));
  context.control.home_net().hold(std::move(*hold), [done](Result<> held) {
    if (!held) return done(std::move(held).error());
    done(json::object());
  });
}

void local_net_release(OpContext& context, NodeId asker, const json& args, OpDone done) {
  const SsiPid pid{context.group.self(), args.value("pid", 0)};
  if (!runs_at(context, pid, asker)) return done(Error("it does not run there"));
  context.control.home_net().release(pid, false);
  done(json::object());
}

}  // namespace ssi::ops
