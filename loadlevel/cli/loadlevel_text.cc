#include "loadlevel/cli/loadlevel_text.h"

#include <fmt/format.h>

#include "loadlevel/cli/reply.h"
#include "loadlevel/cli/table.h"
#include "ssid/base/log.h"

namespace ssi::cli {

std::string loadlevel_set_text(const nlohmann::json& answer) {
  return pid_at(answer) + (flag_at(answer, "enabled") ? ": enabled\n" : ": disabled\n");
}

std::string loadlevel_balancer_text(const nlohmann::json& answer) {
  const char* state = flag_at(answer, "balancing") ? "on" : "off";
  std::string text = "balancer:";
  for (const auto& node : list_at(answer, "nodes"))
    text += fmt::format(" {}: {}", integer_at(node, "node"), state);
  if (list_at(answer, "nodes").empty()) text += fmt::format(" {}", state);
  return text + "\n";
}

std::string loadlevel_status_text(const nlohmann::json& answer) {
  if (has(answer, "pid"))
    return fmt::format("{}: {}, on node {}: {}\n", pid_at(answer),
                       flag_at(answer, "enabled") ? "enabled" : "not enabled",
                       integer_at(answer, "node"), text_at(answer, "reason", "-"));
  std::string text = loadlevel_balancer_text(answer);
  std::vector<std::vector<std::string>> rows;
  for (const auto& process : list_at(answer, "enabled"))
    rows.push_back(
        {pid_at(process), text_at(process, "comm", "?"), text_at(process, "reason", "-")});
  if (rows.empty()) return text + "no process here is enabled\n";
  return text + table_text({{"PID", Align::kRight}, {"COMMAND"}, {"WHY"}}, rows);
}

std::string loadlevel_why_text(const nlohmann::json& answer) {
  std::string text = fmt::format("{}: on node {}\n", pid_at(answer), integer_at(answer, "node"));
  if (has(answer, "cantmove")) text += "  cannot move: " + text_at(answer, "cantmove") + "\n";
  for (const auto& reason : list_at(answer, "reasons"))
    if (reason.is_string()) text += "  " + one_line(reason.get<std::string>()) + "\n";
  return text;
}

std::string loadlevel_list_text(const nlohmann::json& answer) {
  std::string text;
  for (const auto& path : list_at(answer, "paths"))
    if (path.is_string()) text += one_line(path.get<std::string>()) + "\n";
  for (const auto& problem : list_at(answer, "problems"))
    if (problem.is_string())
      text += "# not understood: " + one_line(problem.get<std::string>()) + "\n";
  return text;
}

}  // namespace ssi::cli
