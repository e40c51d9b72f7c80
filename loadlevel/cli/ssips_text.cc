#include "loadlevel/cli/ssips_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <functional>

#include "loadlevel/cli/reply.h"
#include "loadlevel/cli/table.h"
#include "ssid/base/log.h"

namespace ssi::cli {
namespace {

using nlohmann::json;

std::string integer_text(const json& row, std::string_view key) {
  return has(row, key) ? std::to_string(integer_at(row, key)) : "-";
}

// CPU time as ps has it: [DD-]HH:MM:SS.
std::string cpu_time_text(const json& row) {
  const auto s = static_cast<std::int64_t>(number_at(row, "time_s"));
  const std::string days = s >= 86400 ? fmt::format("{}-", s / 86400) : "";
  return fmt::format("{}{:02}:{:02}:{:02}", days, s / 3600 % 24, s / 60 % 60, s % 60);
}

// "14:05" within a day, "Nov22" within a year, else "2025".
std::string start_text(const json& row, std::int64_t now_s) {
  if (!has(row, "age_s")) return "-";
  const std::time_t start = now_s - static_cast<std::int64_t>(number_at(row, "age_s"));
  std::tm local{};
  ::localtime_r(&start, &local);
  const char* format = now_s - start < 86400 ? "%H:%M" : now_s - start < 31536000 ? "%b%d" : "%Y";
  std::array<char, 32> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), format, &local);
  return {text.data(), n};
}

std::string tty_text(const json& row) {
  const std::string tty = text_at(row, "tty");
  return tty.empty() ? "?" : tty;
}

std::string user_text(const json& row, const PsAsker& asker) {
  const std::string name = has(row, "uid") ? asker.user_name(integer_at(row, "uid")) : "";
  return name.empty() ? integer_text(row, "uid") : one_line(name);
}

struct PsColumn {
  const char* name;
  Column head;
  std::function<std::string(const json& row, const PsAsker& asker)> cell;
};

const std::vector<PsColumn>& all_columns() {
  const auto integer = [](const char* key) {
    return [key](const json& row, const PsAsker&) { return integer_text(row, key); };
  };
  const auto percent = [](const char* key) {
    return [key](const json& row, const PsAsker&) {
      return has(row, key) ? fmt::format("{:.1f}", number_at(row, key)) : "-";
    };
  };
  const auto right = Align::kRight;
  static const std::vector<PsColumn> kColumns = {
      {"pid", {"PID", right}, [](const json& row, const PsAsker&) { return pid_at(row); }},
      {"ppid",
       {"PPID", right},
       [](const json& row, const PsAsker&) { return pid_at(row, "ppid"); }},
      {"node", {"NODE", right}, integer("node")},
      {"home", {"HOME", right}, integer("home")},
      {"migs", {"MIGS", right}, integer("migs")},
      {"ll",
       {"LL"},
       [](const json& row, const PsAsker&) { return flag_at(row, "loadlevel") ? "on" : "-"; }},
      {"user", {"USER"}, user_text},
      {"uid", {"UID", right}, integer("uid")},
      {"pcpu", {"%CPU", right}, percent("pcpu")},
      {"pmem", {"%MEM", right}, percent("pmem")},
      {"c",
       {"C", right},
       [](const json& row, const PsAsker&) {
         return fmt::format("{:.0f}", number_at(row, "pcpu"));
       }},
      {"vsz", {"VSZ", right}, integer("vsz_kb")},
      {"rss", {"RSS", right}, integer("rss_kb")},
      {"tty", {"TTY"}, [](const json& row, const PsAsker&) { return tty_text(row); }},
      {"stat", {"STAT"}, [](const json& row, const PsAsker&) { return text_at(row, "stat", "?"); }},
      {"start",
       {"START"},
       [](const json& row, const PsAsker& asker) { return start_text(row, asker.now_s); }},
      {"time", {"TIME", right}, [](const json& row, const PsAsker&) { return cpu_time_text(row); }},
      {"comm",
       {"COMMAND"},
       [](const json& row, const PsAsker&) { return text_at(row, "comm", "?"); }},
      {"args",
       {"COMMAND"},
       [](const json& row, const PsAsker&) { return text_at(row, "command", "?"); }},
  };
  return kColumns;
}

const std::vector<std::string>& columns_of(PsOptions::Format format) {
  static const std::vector<std::string> kPlain = {"pid", "node", "home", "migs", "ll",
                                                  "tty", "stat", "time", "comm"};
  static const std::vector<std::string> kFull = {"user", "pid", "ppid",  "node", "home", "migs",
                                                 "ll",   "c",   "start", "tty",  "time", "args"};
  static const std::vector<std::string> kUser = {"user", "pid",  "node",  "home", "migs",
                                                 "ll",   "pcpu", "pmem",  "vsz",  "rss",
                                                 "tty",  "stat", "start", "time", "args"};
  switch (format) {
    case PsOptions::Format::kFull:
      return kFull;
    case PsOptions::Format::kUser:
      return kUser;
    case PsOptions::Format::kPlain:
      break;
  }
  return kPlain;
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool selected(const json& row, const json& answer, const PsOptions& options, const PsAsker& asker) {
  const bool named = !options.users.empty() || !options.pids.empty();
  if (contains(options.pids, pid_at(row))) return true;
  if (!options.users.empty() && (contains(options.users, integer_text(row, "uid")) ||
                                 contains(options.users, user_text(row, asker))))
    return true;
  if (named) return false;
  if (options.everyone) return true;
  // ssid may not know the terminal; then none is left out for it.
  const bool tty_known = has(row, "tty");
  const bool has_tty = !tty_known || !text_at(row, "tty").empty();
  if ((options.all_users || options.terminals) && has_tty) return true;
  if (options.all_users || options.terminals) return false;
  if (integer_text(row, "uid") != std::to_string(asker.uid)) return false;
  if (options.without_tty || asker.tty.empty() || !tty_known) return true;
  // A terminal is one of the node where the process was born.
  return text_at(row, "tty") == asker.tty && integer_at(row, "home") == integer_at(answer, "self");
}

}  // namespace

Result<> parse_bsd_word(const std::string& word, PsOptions& options) {
  if (!word.empty() && std::isdigit(static_cast<unsigned char>(word.front())) != 0) {
    options.pids.push_back(word);
    return {};
  }
  for (const char c : word) switch (c) {
      case 'a':
        options.all_users = true;
        break;
      case 'x':
        options.without_tty = true;
        break;
      case 'u':
        options.format = PsOptions::Format::kUser;
        break;
      case 'w':
        break;
      default:
        return Error(ErrorCode::kUsage, word + ": not an option (see --help)");
    }
  if (options.all_users && options.without_tty) options.everyone = true;
  return {};
}

std::string ps_column_names() {
  std::string names;
  for (const PsColumn& column : all_columns())
    names += (names.empty() ? "" : ",") + std::string(column.name);
  return names;
}

Result<std::string> ssips_text(const json& answer, const PsOptions& options, const PsAsker& asker) {
  std::vector<const PsColumn*> columns;
  for (std::string name : options.columns.empty() ? columns_of(options.format) : options.columns) {
    if (name == "command" || name == "cmd") name = "args";
    if (name == "tt" || name == "tname") name = "tty";
    if (name == "%cpu") name = "pcpu";
    if (name == "%mem") name = "pmem";
    const auto at = std::find_if(all_columns().begin(), all_columns().end(),
                                 [&](const PsColumn& column) { return name == column.name; });
    if (at == all_columns().end())
      return Error(ErrorCode::kUsage, name + ": no such column, there are " + ps_column_names());
    columns.push_back(&*at);
  }
  std::vector<const json*> rows;
  for (const json& row : list_at(answer, "rows"))
    if (row.is_object() && selected(row, answer, options, asker)) rows.push_back(&row);
  // By home, then by number: PIDs of a node stand together wherever the processes run.
  std::stable_sort(rows.begin(), rows.end(), [](const json* a, const json* b) {
    const auto key = [](const json* row) {
      const std::string pid = pid_at(*row);
      const auto colon = pid.find(':');
      const std::string number = colon == std::string::npos ? pid : pid.substr(colon + 1);
      return std::make_tuple(integer_at(*row, "home"), number.size(), number);
    };
    return key(a) < key(b);
  });
  std::vector<Column> heads;
  for (const PsColumn* column : columns) heads.push_back(column->head);
  std::vector<std::vector<std::string>> cells;
  for (const json* row : rows) {
    auto& line = cells.emplace_back();
    for (const PsColumn* column : columns) line.push_back(column->cell(*row, asker));
  }
  return table_text(heads, cells, options.titles);
}

std::string ssips_silent(const json& answer) {
  std::string nodes;
  for (const json& node : list_at(answer, "silent"))
    nodes += (nodes.empty() ? "" : ", ") + node.dump();
  return nodes;
}

}  // namespace ssi::cli
