#include "loadlevel/cli/drain_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "loadlevel/cli/migrate_text.h"
#include "loadlevel/cli/reply.h"

namespace ssi::cli {
namespace {

constexpr std::int64_t kBarWidth = 30;

const nlohmann::json& progress_of(const nlohmann::json& part) {
  static const nlohmann::json kNone = nlohmann::json::object();
  return has(part, "progress") ? part["progress"] : kNone;
}

}  // namespace

std::string drain_part_text(const nlohmann::json& part) {
  return has(part, "pid") ? migrate_text(part) : "";
}

std::string drain_bar(const nlohmann::json& part) {
  const auto& progress = progress_of(part);
  const auto total = integer_at(progress, "total");
  if (total <= 0) return "";
  const auto done = std::clamp<std::int64_t>(total - integer_at(progress, "to_go"), 0, total);
  const auto filled = static_cast<std::size_t>(done * kBarWidth / total);
  std::string bar(filled, '=');
  if (done < total) bar += '>';
  bar.resize(kBarWidth, ' ');
  return fmt::format("[{}] {} of {}", bar, done, total);
}

std::string drain_text(const nlohmann::json& answer) {
  std::string text;
  for (const auto& one : list_at(answer, "staying"))
    text += fmt::format("{}: stays: {}\n", pid_at(one), text_at(one, "reason", "?"));
  const auto node = integer_at(answer, "node");
  if (!flag_at(answer, "up", true))
    return text +
           fmt::format("node {} is drained; it is not up; `cluster bring {}` opens it again\n",
                       node, node);
  const std::size_t moved = list_at(answer, "moved").size(),
                    stay = list_at(answer, "staying").size();
  const auto guests = integer_at(answer, "guests_left");
  std::string staying =
      stay == 0 ? "none stays" : fmt::format("{} {}", stay, stay == 1 ? "stays" : "stay");
  if (guests > 0) staying += fmt::format(", {} of other nodes", guests);
  return text + fmt::format("node {} is drained: {} moved, {}; `cluster bring {}` opens it again\n",
                            node, moved, staying, node);
}

std::string bring_text(const nlohmann::json& answer) {
  return fmt::format("node {} takes guests again\n", integer_at(answer, "node"));
}

std::string drain_interrupted_text(const std::string& node, bool drained) {
  if (!drained)
    return fmt::format("interrupted; whether node {} is drained, `cluster -v` says", node);
  return fmt::format(
      "interrupted; the node stays drained and goes on sending its processes away; `cluster bring "
      "{}` opens it again",
      node);
}

}  // namespace ssi::cli
