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

std::string node_name(const nlohmann::json& event) {
  const std::string name = text_at(event, "name");
  return fmt::format("node {}{}", integer_at(event, "node"), name.empty() ? "" : " (" + name + ")");
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
        fmt::format("{}{}: {}", text.empty() ? "" : " ", integer_at(node, "node"), state_of(node));
  return text + "\n";
}

std::string cluster_text_long(const nlohmann::json& status) {
  struct Row {
    std::string head, name, address, cpus, load, free, guests;
  };
  std::vector<Row> rows;
  for (const auto& node : list_at(status, "nodes")) {
    Row row;
    row.head = fmt::format("{}: {}", integer_at(node, "node"), state_of(node));
    row.name = text_at(node, "name", "-");
    row.address = text_at(node, "address", "-");
    row.cpus = "cpus " + number_text(node, "cpus", "{:.0f}");
    row.load = "load " + number_text(node, "load", "{:.2f}");
    row.free =
        "free " +
        (has(node, "memory_free_bytes") ? bytes_text(number_at(node, "memory_free_bytes")) : "-");
    row.guests = fmt::format("guests {} in {} out", number_text(node, "guests_in", "{:.0f}"),
                             number_text(node, "guests_out", "{:.0f}"));
    if (has(node, "balancer") && !flag_at(node, "balancer")) row.guests += ", balancer off";
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
  if (has(status, "votes"))
    text += fmt::format("{} {} of {} votes", quorate ? "," : ":", integer_at(status, "votes"),
                        integer_at(status, "expected_votes"));
  return text + "\n";
}

std::string event_text(const nlohmann::json& event) {
  const std::string kind = text_at(event, "kind");
  std::string what;
  if (kind == "node_up") {
    what = node_name(event) + " is up";
  } else if (kind == "node_down") {
    what = node_name(event) + " is down";
  } else if (kind == "quorum") {
    what = flag_at(event, "quorate") ? "quorum is there" : "quorum is lost";
  } else if (kind == "balancer") {
    what = node_name(event) + (flag_at(event, "on") ? " balancer on" : " balancer off");
  } else if (kind == "move") {
    what = fmt::format("{}: {} -> {}, frozen {}, {}", pid_at(event), integer_at(event, "from"),
                       integer_at(event, "to"), ms_text(number_at(event, "frozen_ms")),
                       bytes_text(number_at(event, "bytes")));
    if (has(event, "command")) what += ", " + text_at(event, "command");
  } else if (kind == "move_failed") {
    what = fmt::format("{}: {} -> {} failed", pid_at(event), integer_at(event, "from"),
                       integer_at(event, "to"));
  } else {
    what = kind.empty() ? "?" : kind;
  }
  if (has(event, "reason")) what += ": " + text_at(event, "reason");
  return time_text(integer_at(event, "time_ms")) + " " + what + "\n";
}

}  // namespace ssi::cli
