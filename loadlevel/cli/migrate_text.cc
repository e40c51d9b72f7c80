#include "loadlevel/cli/migrate_text.h"

#include <fmt/format.h>

#include "loadlevel/cli/reply.h"

namespace ssi::cli {

std::string migrate_text(const nlohmann::json& answer) {
  const std::string pid = pid_at(answer);
  const auto from = integer_at(answer, "from"), to = integer_at(answer, "to");
  if (flag_at(answer, "dry_run")) return fmt::format("{}: {} -> {}, can be moved\n", pid, from, to);
  if (flag_at(answer, "already")) return fmt::format("{}: runs on node {} already\n", pid, to);
  return fmt::format("{}: {} -> {}, frozen {}, {}\n", pid, from, to,
                     ms_text(number_at(answer, "frozen_ms")),
                     bytes_text(number_at(answer, "memory_bytes")));
}

std::string migrate_text_with_steps(const nlohmann::json& answer) {
  std::string line;
  for (const std::string step : {"check", "freeze", "dump", "send", "restore", "commit"})
    if (has(answer, step + "_ms"))
      line += (line.empty() ? "" : ", ") + step + " " + ms_text(number_at(answer, step + "_ms"));
  return migrate_text(answer) + (line.empty() ? "" : pid_at(answer) + ": " + line + "\n");
}

std::string migrate_progress_text(const nlohmann::json& part) {
  if (has(part, "waiting")) return pid_at(part) + ": waiting: " + text_at(part, "waiting") + "\n";
  return "";
}

}  // namespace ssi::cli
