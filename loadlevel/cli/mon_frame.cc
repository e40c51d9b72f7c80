#include "loadlevel/cli/mon_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "loadlevel/cli/cluster_text.h"
#include "loadlevel/cli/reply.h"

namespace ssi::cli {
namespace {

using nlohmann::json;

constexpr int kTitleRows = 2;
constexpr int kMovesMax = 8;
constexpr int kNameWidthMax = 16;
constexpr const char* kDrained = " DRAINED";
constexpr const char* kKeys = "l load  m memory  u use  arrows scroll  h help  q quit";
constexpr const char* kHelp[] = {
    "load      processes that run or wait for a CPU, of the CPUs; a full bar is one for each,",
    "          and a + at its end says that some wait",
    "memory    in use, of all that the node has",
    "use       how much of the node's CPUs is used",
    "in, out   guests of other nodes here, and processes of this node that run elsewhere",
};

std::string view_name(MonView view) {
  switch (view) {
    case MonView::kLoad:
      return "load";
    case MonView::kMemory:
      return "memory";
    case MonView::kUse:
      return "use";
    case MonView::kBoth:
      break;
  }
  return "load and memory";
}

double load_per_cpu(const json& node) {
  return number_at(node, "load") / std::max(1.0, number_at(node, "cpus"));
}

std::string load_text(const json& node) {
  return fmt::format("{:>6.2f}/{:<3.0f}", number_at(node, "load"), number_at(node, "cpus"));
}

double memory_used(const json& node) {
  return number_at(node, "mem_total_bytes") - number_at(node, "mem_free_bytes");
}

std::string memory_text(const json& node) {
  return fmt::format("{:>9}/{:<9}", bytes_text(memory_used(node)),
                     bytes_text(number_at(node, "mem_total_bytes")));
}

double memory_part(const json& node) {
  return memory_used(node) / std::max(1.0, number_at(node, "mem_total_bytes"));
}

// With bars that fill `width` columns together.
std::string measures(const json& node, MonView view, int width) {
  const auto one = [&](double part, const std::string& text) {
    return mon_bar(part, width - static_cast<int>(text.size()) - 2) + text;
  };
  switch (view) {
    case MonView::kLoad:
      return one(load_per_cpu(node), load_text(node));
    case MonView::kMemory:
      return one(memory_part(node), memory_text(node));
    case MonView::kUse: {
      const double use = std::clamp(load_per_cpu(node), 0.0, 1.0);
      return one(use, fmt::format("{:>4.0f}%", 100 * use));
    }
    case MonView::kBoth:
      break;
  }
  const std::string load = load_text(node), memory = memory_text(node);
  const int bars = width - static_cast<int>(load.size() + memory.size()) - 5;
  return mon_bar(load_per_cpu(node), bars / 2) + load + " " +
         mon_bar(memory_part(node), bars - bars / 2) + memory;
}

// Of all rows, so that bars can be compared.
struct Widths {
  int name = 1;
  int state = 0;
};

std::string node_row(const json& node, const MonScreen& screen, const Widths& widths) {
  const int name_width = widths.name;
  std::string name = text_at(node, "name", "-").substr(0, static_cast<std::size_t>(name_width));
  const std::string head = fmt::format("{:>3} {:<{}} ", integer_at(node, "id"), name, name_width);
  const std::string state = text_at(node, "state", "DOWN");
  if (state != "UP" || !has(node, "load"))
    return head + (state == "UP" ? "UP, its load is not known yet" : state);
  const std::string tail = fmt::format(" in {:>3} out {:>3}{:<{}}", integer_at(node, "guests_in"),
                                       integer_at(node, "guests_out"),
                                       flag_at(node, "drained") ? kDrained : "", widths.state);
  const int width = screen.columns - static_cast<int>(head.size() + tail.size());
  return head + measures(node, screen.view, width) + tail;
}

std::string title(const json& status, const MonScreen& screen) {
  const json& nodes = list_at(status, "nodes");
  const auto up =
      std::ranges::count_if(nodes, [](const json& node) { return text_at(node, "state") == "UP"; });
  const std::string left =
      fmt::format("{} of {} nodes up, quorum: {}", up, nodes.size(),
                  flag_at(status, "quorate") ? "yes" : "no, nothing is moved or changed");
  const std::string right = view_name(screen.view);
  const int gap = std::max(1, screen.columns - static_cast<int>(left.size() + right.size()));
  return left + std::string(static_cast<std::size_t>(gap), ' ') + right;
}

std::vector<std::string> last_moves(const json& events, int rows) {
  std::vector<std::string> lines;
  const json& all = list_at(events, "events");
  for (auto event = all.rbegin(); event != all.rend() && std::ssize(lines) < rows; ++event) {
    if (!has(*event, "from") || !has(*event, "to")) continue;
    std::string line = event_text(*event);
    line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::string mon_bar(double part, int width) {
  if (width < 1) return "";
  const int filled = static_cast<int>(std::lround(std::clamp(part, 0.0, 1.0) * width));
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(width - filled), '.') + (part > 1.005 ? '+' : ']');
}

int mon_node_rows(const json& status, const MonScreen& screen) {
  return std::clamp(screen.rows - kTitleRows - 1, 0,
                    static_cast<int>(list_at(status, "nodes").size()));
}

std::vector<std::string> mon_frame(const json& status, const json& events,
                                   const MonScreen& screen) {
  std::vector<std::string> lines{title(status, screen), ""};
  const json& nodes = list_at(status, "nodes");
  Widths widths;
  for (const json& node : nodes) {
    const int width = static_cast<int>(text_at(node, "name", "-").size());
    widths.name = std::max(widths.name, std::min(width, kNameWidthMax));
    if (flag_at(node, "drained")) widths.state = static_cast<int>(std::strlen(kDrained));
  }
  const int count = mon_node_rows(status, screen);
  const int first = std::clamp(screen.first_node, 0, static_cast<int>(nodes.size()) - count);
  for (int i = first; i < first + count; ++i) {
    lines.push_back(node_row(nodes[static_cast<std::size_t>(i)], screen, widths));
  }
  // An empty line and a heading before them, an empty line and the keys after.
  const int room = screen.rows - static_cast<int>(lines.size()) - 4;
  if (room > 0) {
    lines.push_back("");
    if (screen.help) {
      for (const char* line : kHelp) {
        if (std::ssize(lines) < screen.rows - 1) lines.push_back(line);
      }
    } else {
      lines.push_back("last moves");
      std::ranges::move(last_moves(events, std::min(room, kMovesMax)), std::back_inserter(lines));
    }
  }
  while (std::ssize(lines) < screen.rows - 1) lines.push_back("");
  lines.push_back(kKeys);
  if (std::ssize(lines) > screen.rows)
    lines.resize(static_cast<std::size_t>(std::max(0, screen.rows)));
  for (std::string& line : lines) {
    if (std::ssize(line) > screen.columns) {
      line.resize(static_cast<std::size_t>(std::max(0, screen.columns)));
    }
  }
  return lines;
}

}  // namespace ssi::cli
