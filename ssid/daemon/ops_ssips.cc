#include <fstream>
#include <iterator>

#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kAskTimeout = std::chrono::seconds(3);

std::string command_line(pid_t pid, const std::string& comm) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  while (!text.empty() && text.back() == '\0') text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text.empty() ? "[" + comm + "]" : text.substr(0, 1024);
}

json row_of(OpContext& context, const ProcessSample& p, SsiPid pid, unsigned migs) {
  return {{"pid", pid.to_string()},
          {"local_pid", p.key.pid},
          {"ppid", p.ppid},
          {"node", context.group.self().value},
          {"home", pid.home.value},
          {"migs", migs},
          {"uid", p.uid},
          {"pcpu", p.cpu_share * 100},
          {"rss_kb", p.rss_bytes / 1024},
          {"stat", std::string(1, p.state)},
          {"time_s", p.cpu_s},
          {"age_s", p.age_s},
          {"threads", p.threads},
          {"comm", p.comm},
          {"command", command_line(p.key.pid, p.comm)},
          {"loadlevel", context.balancer.tracker().enabled(p.key)}};
}

}  // namespace

// Every process of the cluster is in exactly one node's answer: that of the node where it runs.
void local_processes(OpContext& context, const OpCaller&, const json&, OpDone done) {
  std::map<pid_t, const GuestRecord*> guests;
  for (const auto& [pid, record] : context.control.guests().all()) {
    if (const auto local = context.control.guests().host_pid(record)) guests[*local] = &record;
  }
  json rows = json::array();
  for (const ProcessSample& p : context.balancer.last_sample().scan.processes) {
    if (context.control.is_deputy(p.key.pid)) continue;
    const auto guest = guests.find(p.key.pid);
    if (guest == guests.end()) {
      rows.push_back(row_of(context, p, {context.group.self(), p.key.pid}, 0));
      continue;
    }
    const SsiPid pid = guest->second->ticket.pid;
    const auto entry = context.group.find(pid);
    rows.push_back(row_of(context, p, pid, entry ? entry->nmigs : 0));
  }
  done(json{{"rows", rows}});
}

void ssips(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  std::vector<NodeId> nodes = context.group.view().members;
  if (nodes.empty()) nodes = {context.group.self()};
  auto left = std::make_shared<std::size_t>(nodes.size());
  auto all = std::make_shared<json>(json{{"rows", json::array()}, {"silent", json::array()}});
  for (const NodeId node : nodes) {
    auto answered = [=](Result<json> answer) {
      if (answer) {
        for (json& row : (*answer)["rows"]) (*all)["rows"].push_back(std::move(row));
      } else {
        (*all)["silent"].push_back(node.value);
      }
      if (--*left == 0) done(*all);
    };
    if (node == context.group.self()) {
      local_processes(context, caller, args, answered);
    } else {
      context.requests.ask(node, "internal.processes", json::object(), caller.uid, kAskTimeout,
                           answered);
    }
  }
}

}  // namespace ssi::ops
