#include "loadlevel/cli/mon_frame.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <time.h>

#include <nlohmann/json.hpp>

namespace ssi::cli {
namespace {

using nlohmann::json;

const json kStatus = json::parse(R"({
  "quorate": true,
  "nodes": [
    {"id": 1, "name": "n1", "state": "UP", "cpus": 2, "load": 1.0, "mem_total_bytes": 4294967296,
     "mem_free_bytes": 1073741824, "guests_in": 0, "guests_out": 12},
    {"id": 2, "name": "n2", "state": "UP", "cpus": 1, "load": 3.5, "mem_total_bytes": 4294967296,
     "mem_free_bytes": 4294967296, "guests_in": 12, "guests_out": 0, "drained": true},
    {"id": 3, "name": "n3", "state": "DOWN"}]})");
const json kEvents = json::parse(R"({"events": [
    {"time_ms": 1795323600000, "text": "70041 (xz): 1 -> 2", "from": 1, "to": 2},
    {"time_ms": 1795323601000, "text": "node 3 left"},
    {"time_ms": 1795323602000, "text": "70042 (xz): 2 -> 1", "from": 2, "to": 1}]})");

std::string text(const std::vector<std::string>& lines) {
  std::string all;
  for (const auto& line : lines) all += line + "\n";
  return all;
}

}  // namespace

TEST_CASE("a bar is filled as far as the part goes, and says if it is more than all") {
  CHECK(mon_bar(0, 4) == "[....]");
  CHECK(mon_bar(0.5, 4) == "[##..]");
  CHECK(mon_bar(1, 4) == "[####]");
  CHECK(mon_bar(1.5, 4) == "[####+");
  CHECK(mon_bar(-1, 4) == "[....]");
  CHECK(mon_bar(0.5, 0).empty());
}

TEST_CASE("a frame: title, nodes, the last moves with the newest first, keys") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  CHECK(text(mon_frame(kStatus, kEvents, {.rows = 11, .columns = 76, .view = MonView::kLoad})) ==
        "2 of 3 nodes up, quorum: yes                                            load\n"
        "\n"
        "  1 n1 [#################.................]  1.00/2   in   0 out  12        \n"
        "  2 n2 [##################################+  3.50/1   in  12 out   0 DRAINED\n"
        "  3 n3 DOWN\n"
        "\n"
        "last moves\n"
        "2026-11-22 05:00:02 70042 (xz): 2 -> 1\n"
        "2026-11-22 05:00:00 70041 (xz): 1 -> 2\n"
        "\n"
        "l load  m memory  u use  arrows scroll  h help  q quit\n");
}

TEST_CASE("views show what they are named after") {
  const auto row = [](MonView view) {
    return mon_frame(kStatus, kEvents, {.rows = 24, .columns = 80, .view = view})[2];
  };
  CHECK(row(MonView::kUse).find(" 50% in") != std::string::npos);
  CHECK(row(MonView::kMemory).find("3 GiB/4 GiB") != std::string::npos);
  const std::string both = row(MonView::kBoth);
  CHECK(both.find("1.00/2") != std::string::npos);
  CHECK(both.find("3 GiB/4 GiB") != std::string::npos);
}

TEST_CASE("no frame is larger than the screen, whatever its size, and nodes are scrolled") {
  for (const MonView view : {MonView::kBoth, MonView::kLoad, MonView::kMemory, MonView::kUse}) {
    for (int rows = 0; rows < 16; ++rows) {
      for (int columns = 0; columns < 100; columns += 3) {
        const MonScreen screen{rows, columns, view, rows, rows % 2 == 1};
        const auto lines = mon_frame(kStatus, kEvents, screen);
        CHECK(std::ssize(lines) <= rows);
        for (const auto& line : lines) CHECK(std::ssize(line) <= columns);
      }
    }
  }
  const auto lines = mon_frame(kStatus, kEvents, {.rows = 5, .first_node = 1});
  CHECK(lines[2].starts_with("  2 n2"));
  CHECK(lines[3].starts_with("  3 n3"));
  CHECK(mon_frame(kStatus, kEvents, {.rows = 5, .first_node = 7})[3].starts_with("  3 n3"));
}

TEST_CASE("help takes the place of the moves, and nothing known gives no nodes") {
  CHECK(text(mon_frame(kStatus, kEvents, {.help = true})).find("in, out   guests") !=
        std::string::npos);
  CHECK(mon_frame(json(), json(), {}).front().starts_with("0 of 0 nodes up, quorum: no"));
}

}  // namespace ssi::cli
