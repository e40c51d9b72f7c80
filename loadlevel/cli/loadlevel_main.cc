// loadlevel: which processes may be moved, why one was or was not, and the balancer itself.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "loadlevel/cli/command.h"
#include "loadlevel/cli/loadlevel_text.h"

using namespace ssi;
using namespace ssi::cli;

namespace {

// Enables this process, then becomes the command: so the PID is the one that was enabled.
int run(const std::vector<std::string>& command) {
  auto client = ControlClient::connect();
  if (!client) return fail("loadlevel", "run", client.error());
  nlohmann::json args;
  args["pid"] = ::getpid();
  auto enabled = client->call("loadlevel.enable", args);
  if (!enabled) return fail("loadlevel", "run", enabled.error());
  return fail("loadlevel", command.front(), Error(std::strerror(execute(command))));
}

// `loadlevel run [--] CMD ARGS...`: what follows is the command's, options too, so it is not ours
// to parse. Empty for `loadlevel run`, `loadlevel run --help` and everything else.
std::vector<std::string> command_to_run(std::vector<std::string> arguments) {
  if (arguments.size() < 2 || arguments[0] != "run") return {};
  const bool marked = arguments[1] == "--";
  if (!marked && arguments[1].starts_with("-")) return {};
  arguments.erase(arguments.begin(), arguments.begin() + (marked ? 2 : 1));
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  if (auto command = command_to_run({argv + 1, argv + argc}); !command.empty()) return run(command);
  CLI::App app("Says which processes the cluster may move, and why it did.", "loadlevel");
  app.require_subcommand(1);
  std::string pid, path, node;
  bool json = false;
  const auto sub = [&](const char* name, const char* help) {
    CLI::App* made = app.add_subcommand(name, help);
    made->add_flag("--json", json, "print ssid's answer as JSON");
    return made;
  };
  CLI::App* enable = sub("enable", "let the cluster move PID and its children");
  CLI::App* disable = sub("disable", "leave PID and its children where they are");
  CLI::App* status = sub("status", "the balancer and what is enabled, or PID alone");
  CLI::App* why = sub("why", "the last decision about PID, and what stops it from moving");
  for (CLI::App* one : {enable, disable, why}) one->add_option("PID", pid, "process")->required();
  status->add_option("PID", pid, "process");
  CLI::App* on = sub("on", "the balancer moves processes");
  CLI::App* off = sub("off", "the balancer moves nothing");
  for (CLI::App* one : {on, off})
    one->add_option("-n,--node", node, "on this node only, a number or name");
  CLI::App* add = sub("add", "every process of the program PATH is enabled");
  CLI::App* remove = sub("remove", "no longer so");
  for (CLI::App* one : {add, remove})
    one->add_option("PATH", path, "absolute path of a program")->required();
  CLI::App* list = sub("list", "these programs");
  std::string command;
  app.add_subcommand("run", "start CMD ARGS... enabled")
      ->add_option("CMD", command, "the program and what it is given")
      ->required();
  if (auto ended = parse_arguments(app, argc, argv)) return *ended;

  Question question{.name = "loadlevel", .what = pid.empty() ? path : pid, .op = "", .json = json};
  if (!pid.empty()) question.args["pid"] = pid;
  if (!path.empty()) question.args["path"] = path;
  if (on->count("-n") + off->count("-n") > 0) question.args["node"] = node;
  if (!path.empty() && path.front() != '/')
    return fail("loadlevel", path, Error(ErrorCode::kUsage, "not an absolute path"));
  const auto ask = [&](const char* op, std::string (*to_text)(const nlohmann::json&)) {
    question.op = op;
    return ask_and_print(question, to_text);
  };
  const auto nothing = [](const nlohmann::json&) { return std::string(); };
  if (*enable) return ask("loadlevel.enable", loadlevel_set_text);
  if (*disable) return ask("loadlevel.disable", loadlevel_set_text);
  if (*status) return ask("loadlevel.status", loadlevel_status_text);
  if (*why) return ask("loadlevel.why", loadlevel_why_text);
  if (*on) return ask("loadlevel.on", loadlevel_balancer_text);
  if (*off) return ask("loadlevel.off", loadlevel_balancer_text);
  if (*add) return ask("loadlevel.add", nothing);
  if (*remove) return ask("loadlevel.remove", nothing);
  if (*list) return ask("loadlevel.list", loadlevel_list_text);
  return kExitUsage;
}
