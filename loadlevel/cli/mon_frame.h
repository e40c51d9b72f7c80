// What `mon` shows, as lines of text, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace ssi::cli {

enum class MonView { kBoth, kLoad, kMemory, kUse };

struct MonScreen {
  int rows = 24;
  int columns = 80;
  MonView view = MonView::kBoth;
  int first_node = 0;  // counted from 0; the ones before it are scrolled away
  bool help = false;
};

// `status` as of cluster.status, `events` as of cluster.events. At most screen.rows lines, none
// wider than screen.columns: a title, a line a node, the last moves, and in the last one the keys.
// What there is no room for is left out, moves first.
std::vector<std::string> mon_frame(const nlohmann::json& status, const nlohmann::json& events,
                                   const MonScreen& screen);
// Of how many nodes there is a line.
int mon_node_rows(const nlohmann::json& status, const MonScreen& screen);

// "[######....]": `part` of 1 filled; more than 1: "[##########+"
std::string mon_bar(double part, int width);

}  // namespace ssi::cli
