#include "loadlevel/cli/cluster_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <vector>

#include "loadlevel/cli/reply.h"

namespace ssi::cli {
namespace {

std::string time_text(std::int64_t time_ms) {
  const std::time_t seconds = time_ms / 1000;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::array<char, 32> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return {text.data(), n};
}

std::string state_of(const nlohmann::json& node) { return text_at(node, "state", "DOWN"); }

std::string number_text(const nlohmann::json& node, std::string_view key, const char* format) {
  return has(node, key) ? fmt::format(fmt::runtime(format), number_at(node, key)) : "-";
}

}  // namespace

std::string cluster_text(const nlohmann::json& status) {
  std::string text;
  for (const auto& node : list_at(status, "nodes"))
    text +=
        fmt::format("{}{}: {}", text.empty() ? "" : " ", integer_at(node, "id"), state_of(node));
  return text + "\n";
}

std::string cluster_text_long(const nlohmann::json& status) {
  struct Row {
    std::string head, name, address, cpus, load, free, guests;
  };
  std::vector<Row> rows;
  for (const auto& node : list_at(status, "nodes")) {
    Row row;
    row.head = fmt::format("{}: {}{}", integer_at(node, "id"), state_of(node),
                           flag_at(node, "drained") ? " DRAINED" : "");
    row.name = text_at(node, "name", "-");
    row.address = text_at(node, "address", "-");
    row.cpus = "cpus " + number_text(node, "cpus", "{:.0f}");
    row.load = "load " + number_text(node, "load", "{:.2f}");
    row.free = "free " +
               (has(node, "mem_free_bytes") ? bytes_text(number_at(node, "mem_free_bytes")) : "-");
    row.guests = fmt::format("guests {} in {} out", number_text(node, "guests_in", "{:.0f}"),
                             number_text(node, "guests_out", "{:.0f}"));
    if (has(node, "accepting") && !flag_at(node, "accepting") && !flag_at(node, "drained"))
      row.guests += ", takes no guests";
    rows.push_back(std::move(row));
  }
  const auto width = [&](std::string Row::*column) {
    std::size_t widest = 0;
    for (const auto& row : rows) widest = std::max(widest, (row.*column).size());
    return widest;
  };
  std::string text;
  for (const auto& row : rows)
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:<{}}  {:<{}}  {:<{}}  {}\n", row.head,
                        width(&Row::head), row.name, width(&Row::name), row.address,
                        width(&Row::address), row.cpus, width(&Row::cpus), row.load,
                        width(&Row::load), row.free, width(&Row::free), row.guests);
  const bool quorate = flag_at(status, "quorate");
  text += quorate ? "quorum: yes" : "quorum: no, nothing is moved or changed";
  if (has(status, "expected"))
    text += fmt::format("{} {} of {} nodes, {} needed", quorate ? "," : ":",
                        integer_at(status, "members"), integer_at(status, "expected"),
                        integer_at(status, "needed"));
  return text + "\n";
}

std::string event_text(const nlohmann::json& event) {
  const std::string when =
      has(event, "time_ms") ? time_text(integer_at(event, "time_ms")) + " " : "";
  return when + text_at(event, "text", "?") + "\n";
}

std::string events_text(const nlohmann::json& answer) {
  std::string text;
  for (const auto& event : list_at(answer, "events")) text += event_text(event);
  return text;
}

}  // namespace ssi::cli
