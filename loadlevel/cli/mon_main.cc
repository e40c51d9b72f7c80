// mon: the load and memory of all nodes, and what was moved, once a second.
#include <unistd.h>

#include "loadlevel/cli/command.h"
#include "loadlevel/cli/mon_display.h"
#include "loadlevel/cli/mon_frame.h"

using namespace ssi;
using namespace ssi::cli;

namespace {

constexpr std::int64_t kAnswerMs = 3000;
constexpr int kLinesOnce = 1000;  // all nodes

Result<MonAnswers> ask_ssid() {
  SSI_ASSIGN(ControlClient client, ControlClient::connect());
  MonAnswers answers;
  SSI_ASSIGN(answers.status, client.call("cluster.status", nlohmann::json::object(), kAnswerMs));
  SSI_ASSIGN(answers.events,
             client.call("cluster.events", nlohmann::json{{"follow", false}}, kAnswerMs));
  return answers;
}

int print_once() {
  const auto answers = ask_ssid();
  if (!answers) return fail("mon", "", answers.error());
  auto lines = mon_frame(answers->status, answers->events, {.rows = kLinesOnce});
  lines.pop_back();  // the keys
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return print("mon", text) ? 0 : kExitFailed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Shows the load and memory of all nodes and what was moved, once a second.", "mon");
  bool once = false;
  app.add_flag("--once", once, "print it once, as also if this is no terminal");
  if (auto status = parse_arguments(app, argc, argv)) return *status;
  if (once || ::isatty(STDOUT_FILENO) == 0 || ::isatty(STDIN_FILENO) == 0) return print_once();
  // Said on the screen that the user has, not on one that is gone with the command.
  if (const auto first = ask_ssid(); !first) return fail("mon", "", first.error());
  const auto shown = run_mon(ask_ssid);
  return shown ? 0 : fail("mon", "", shown.error());
}
