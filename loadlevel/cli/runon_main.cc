// runon: runs a command on another node as if it ran here.
#include "loadlevel/cli/command.h"
#include "loadlevel/cli/remote_run.h"

using namespace ssi::cli;

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  CLI::App app(
      "Runs CMD on another node: with this terminal, these files, this directory, environment and\n"
      "user, under this PID. Its exit status is CMD's; 126, 127: CMD can't be run, is not found.",
      "runon");
  std::string node;
  bool pin = false;
  std::string command;
  app.add_flag("-p,--pin", pin, "the balancer leaves it there");
  app.add_option("NODE", node, "number or name of a node, `home`, or `best`")->required();
  app.add_option("CMD", command, "what to run, and what it is given")->required();
  const bool help = !arguments.empty() && (arguments[0] == "-h" || arguments[0] == "--help");
  if (help) return parse_arguments(app, argc, argv).value_or(0);

  auto run = parse_remote_run(arguments);
  if (!run) return fail("runon", "usage", run.error());
  if (auto there = go_to(run->node, run->pinned); !there) {
    return fail("runon", run->node, there.error());
  }
  return become("runon", run->command);
}
