#include "loadlevel/cli/migrate_text.h"

#include <fmt/format.h>

#include "loadlevel/cli/reply.h"

namespace ssi::cli {

std::string migrate_text(const nlohmann::json& answer) {
  const std::string pid = pid_at(answer);
  const auto from = integer_at(answer, "from"), to = integer_at(answer, "to");
  if (from == to) return fmt::format("{}: is on {} already\n", pid, to);
  const std::string size = bytes_text(number_at(answer, "bytes"));
  if (flag_at(answer, "dry_run"))
    return fmt::format("{}: {} -> {}, can be moved, {}\n", pid, from, to, size);
  return fmt::format("{}: {} -> {}, frozen {}, {}\n", pid, from, to,
                     ms_text(number_at(answer, "frozen_ms")), size);
}

std::string migrate_text_with_steps(const nlohmann::json& answer) {
  std::string text = migrate_text(answer);
  if (!has(answer, "steps_ms")) return text;
  const auto& steps = answer.at("steps_ms");
  std::string line;
  for (const char* step : {"check", "freeze", "dump", "send", "restore", "commit"})
    if (has(steps, step))
      line +=
          fmt::format("{}{} {}", line.empty() ? "" : ", ", step, ms_text(number_at(steps, step)));
  if (!line.empty()) text += pid_at(answer) + ": " + line + "\n";
  return text;
}

std::string migrate_progress_text(const nlohmann::json& part) {
  if (has(part, "waiting")) return pid_at(part) + ": waiting: " + text_at(part, "waiting") + "\n";
  if (has(part, "step")) return pid_at(part) + ": " + text_at(part, "step") + "\n";
  return "";
}

}  // namespace ssi::cli
