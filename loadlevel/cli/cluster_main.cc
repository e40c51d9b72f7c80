// cluster: who is up; events: what happens; drain and bring: a node is emptied, and used again.
#include "loadlevel/cli/cluster_drain.h"
#include "loadlevel/cli/cluster_text.h"
#include "loadlevel/cli/command.h"
#include "loadlevel/cli/drain_text.h"

using namespace ssi::cli;

int main(int argc, char** argv) {
  CLI::App app("Shows the nodes of the cluster, or what happens in it; empties a node.", "cluster");
  bool verbose = false, json = false, follow = false;
  app.add_flag("-v,--verbose", verbose, "a line a node, and quorum");
  app.add_flag("--json", json, "print ssid's answer as JSON");
  CLI::App* events = app.add_subcommand("events", "the last joins, leaves and moves, oldest first");
  events->add_flag("-f,--follow", follow, "those that come, as they happen");
  events->add_flag("--json", json, "as JSON; with -f one object a line");
  std::string node;
  CLI::App* drain = app.add_subcommand(
      "drain", "move everything off NODE and close it; 1 if a guest of another node stays");
  CLI::App* bring = app.add_subcommand("bring", "open NODE again");
  for (CLI::App* one : {drain, bring}) {
    one->add_option("NODE", node, "number or name of a node")->required();
    one->add_flag("--json", json, "print ssid's answer as JSON");
  }
  if (auto status = parse_arguments(app, argc, argv)) return *status;

  Question question{.name = "cluster", .what = "", .op = "cluster.status", .json = json};
  if (*events) {
    question.op = "cluster.events";
    question.args["follow"] = follow;
    if (!follow) return ask_and_print(question, events_text);
    question.timeout_ms = 0;
    return follow_and_print(question, false, event_text, events_text);
  }
  if (*drain || *bring) {
    question.what = (*drain ? "drain " : "bring ") + node;
    question.op = *drain ? "cluster.drain" : "cluster.bring";
    question.args["node"] = node;
    return *drain ? drain_node(question) : ask_and_print(question, bring_text);
  }
  return ask_and_print(question, verbose ? cluster_text_long : cluster_text);
}
