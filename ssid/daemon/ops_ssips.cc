#include <fstream>
#include <iterator>
#include <optional>

#include "loadlevel/metrics/proc_text.h"
#include "ssid/base/proc_status.h"
#include "ssid/daemon/node_processes.h"
#include "ssid/daemon/ops.h"

namespace ssi::ops {
namespace {

constexpr auto kAskTimeout = std::chrono::seconds(3);

// nullopt: it has ended.
std::optional<std::string> command_line(pid_t pid, const std::string& comm) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  if (!in) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(in), {}};
  while (!text.empty() && text.back() == '\0') text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text.empty() ? "[" + comm + "]" : text.substr(0, 1024);
}

// Adds it, if it still lives. A guest's terminal is at its home, which knows.
void add_row(OpContext& context, const ProcessSample& p, const NodeProcesses::Named& process,
             bool is_guest, json& rows) {
  const auto command = command_line(p.key.pid, p.comm);
  if (!command) return;
  json row{{"pid", process.pid.to_string()},
           {"local_pid", p.key.pid},
           {"ppid", is_guest ? innermost_pid(p.ppid) : p.ppid},  // as home has it
           {"node", context.group.self().value},
           {"home", process.pid.home.value},
           {"migs", process.nmigs},
           {"uid", p.uid},
           {"pcpu", p.cpu_share * 100},
           {"rss_kb", p.rss_bytes / 1024},
           {"vsz_kb", p.vsz_bytes / 1024},
           {"stat", std::string(1, p.state)},
           {"time_s", p.cpu_s},
           {"age_s", p.age_s},
           {"threads", p.threads},
           {"comm", p.comm},
           {"command", *command},
           {"loadlevel", context.balancer.enabled().tracker().enabled(p.key)}};
  if (const auto total = context.balancer.last_sample().node.memory_total_bytes; total > 0) {
    row["pmem"] = 100 * static_cast<double>(p.rss_bytes) / static_cast<double>(total);
  }
  if (!is_guest) row["tty"] = proc::tty_name(p.tty);
  rows.push_back(std::move(row));
}

}  // namespace

// Every process of the cluster is in exactly one node's answer: that of the node where it runs. The
// others that were born here are told of with their terminals.
void local_processes(OpContext& context, const OpCaller&, const json&, OpDone done) {
  const NodeProcesses here(context.group, context.control);
  std::map<pid_t, double> shares;  // of guests
  json rows = json::array();
  json ttys = json::object();
  for (const ProcessSample& p : context.balancer.last_sample().scan.processes) {
    if (here.is_away(p.key)) {
      ttys[SsiPid{context.group.self(), p.key.pid}.to_string()] = proc::tty_name(p.tty);
    }
    if (here.guests().contains(p.key.pid)) {
      shares[p.key.pid] = p.cpu_share;
    } else if (const auto process = here.find(p.key)) {
      add_row(context, p, *process, false, rows);
    }
  }
  // The last sample may have been before a guest came, or have seen it half built.
  for (const auto& [local, guest] : here.guests()) {
    auto p = context.balancer.enabled().look(local);
    if (!p) continue;
    if (const auto share = shares.find(local); share != shares.end()) p->cpu_share = share->second;
    add_row(context, *p, guest, true, rows);
  }
  done(json{{"rows", rows}, {"ttys", ttys}});
}

void ssips(OpContext& context, const OpCaller& caller, const json& args, OpDone done) {
  const NodeId self = context.group.self();
  const auto answered = [self, done = std::move(done)](Requests::Answers answers, bool stands) {
    json rows = json::array(), silent = json::array();
    for (auto& [node, answer] : answers) {
      if (!answer || !answer->is_object()) {
        silent.push_back(node.value);
        continue;
      }
      for (json& row : (*answer)["rows"]) {
        const auto home = answers.find(NodeId{row.value("home", 0u)});
        if (!row.contains("tty") && home != answers.end() && home->second) {
          const json& ttys = (*home->second)["ttys"];
          if (const auto tty = ttys.find(row.value("pid", "")); tty != ttys.end())
            row["tty"] = *tty;
        }
        rows.push_back(std::move(row));
      }
    }
    done(json{{"rows", rows}, {"silent", silent}, {"self", self.value}, {"group_stands", stands}});
  };
  context.requests.ask_all("internal.processes", "{}", caller.uid, kAskTimeout,
                           [&context, caller, args, answered, self](Requests::Answers answers) {
                             const auto own = answers.find(self);
                             if (own != answers.end() && own->second) {
                               return answered(std::move(answers), false);
                             }
                             // This node is in no group, or its corosync brings it not even its own
                             // question; but it has its own processes.
                             const bool stands = own != answers.end();
                             local_processes(
                                 context, caller, args,
                                 [answered, answers, self, stands](Result<json> here) mutable {
                                   answers.insert_or_assign(self, std::move(here));
                                   answered(std::move(answers), stands);
                                 });
                           });
}

}  // namespace ssi::ops
