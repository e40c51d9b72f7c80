// migrate: moves a running process to another node.
#include "loadlevel/cli/command.h"
#include "loadlevel/cli/migrate_text.h"

using namespace ssi::cli;

int main(int argc, char** argv) {
  CLI::App app("Moves a running process to another node, home, or where it is best off.",
               "migrate");
  std::string pid, to;
  bool tree = false, dry_run = false, wait = false, stats = false, json = false;
  app.add_option("PID", pid, "process: 70041, or NODE:PID if it is older than ssid")->required();
  app.add_option("NODE", to, "number or name of a node, `home` or `best`")->required();
  app.add_flag("--tree", tree, "with all its children and theirs, as one");
  app.add_flag("--dry-run", dry_run, "only say whether it can be moved, and what would be");
  app.add_flag("--wait", wait, "while something is busy, try again and show what is waited for");
  app.add_flag("--stats", stats, "show how long each step took");
  app.add_flag("--json", json, "print ssid's answer as JSON");
  if (auto status = parse_arguments(app, argc, argv)) return *status;

  Question question{.name = "migrate", .what = pid, .op = "migrate", .json = json};
  question.args["pid"] = pid;
  question.args["node"] = to;
  question.args["tree"] = tree;
  question.args["dry_run"] = dry_run;
  question.args["wait"] = wait;
  question.timeout_ms = 0;  // a move has its own time limits; ssid keeps them
  return follow_and_print(question, true, migrate_progress_text,
                          stats ? migrate_text_with_steps : migrate_text);
}
