#include "loadlevel/cli/loadlevel_text.h"

#include <fmt/format.h>

#include "loadlevel/cli/reply.h"
#include "loadlevel/cli/table.h"

namespace ssi::cli {

std::string loadlevel_set_text(const nlohmann::json& answer) {
  std::string text = pid_at(answer) + (flag_at(answer, "enabled") ? ": enabled" : ": disabled");
  const auto others = integer_at(answer, "children");
  if (others > 0) text += fmt::format(", and {} of its children", others);
  return text + "\n";
}

std::string loadlevel_balancer_text(const nlohmann::json& answer) {
  std::string text = "balancer:";
  for (const auto& node : list_at(answer, "nodes"))
    text += fmt::format(" {}: {}", integer_at(node, "node"), flag_at(node, "on") ? "on" : "off");
  return text + "\n";
}

std::string loadlevel_status_text(const nlohmann::json& answer) {
  std::string text;
  if (has(answer, "nodes")) text += loadlevel_balancer_text(answer);
  std::vector<std::vector<std::string>> rows;
  for (const auto& process : list_at(answer, "processes"))
    rows.push_back({pid_at(process), std::to_string(integer_at(process, "node")),
                    std::to_string(integer_at(process, "home")),
                    std::to_string(integer_at(process, "migs")),
                    flag_at(process, "enabled") ? "enabled" : "disabled",
                    text_at(process, "by", "-"), text_at(process, "command", "?")});
  if (rows.empty()) return text + "no process is enabled\n";
  return text + table_text({{"PID", Align::kRight},
                            {"NODE", Align::kRight},
                            {"HOME", Align::kRight},
                            {"MIGS", Align::kRight},
                            {"LL"},
                            {"BY"},
                            {"COMMAND"}},
                           rows);
}

std::string loadlevel_why_text(const nlohmann::json& answer) {
  std::string text = fmt::format("{}: on node {}, home {}, {}\n", pid_at(answer),
                                 integer_at(answer, "node"), integer_at(answer, "home"),
                                 flag_at(answer, "enabled") ? "enabled" : "not enabled");
  for (const auto& blocker : list_at(answer, "blockers"))
    if (blocker.is_string()) text += "  cannot move: " + blocker.get<std::string>() + "\n";
  if (has(answer, "decision")) {
    const auto& decision = answer.at("decision");
    const bool move = text_at(decision, "action") == "move";
    text += move ? fmt::format("  move to node {}\n", integer_at(decision, "to")) : "  stay\n";
    for (const auto& reason : list_at(decision, "reasons"))
      if (reason.is_string()) text += "  because " + reason.get<std::string>() + "\n";
  } else {
    text += "  no decision about it yet\n";
  }
  return text;
}

std::string loadlevel_list_text(const nlohmann::json& answer) {
  std::string text;
  for (const auto& path : list_at(answer, "paths"))
    if (path.is_string()) text += path.get<std::string>() + "\n";
  return text;
}

}  // namespace ssi::cli
