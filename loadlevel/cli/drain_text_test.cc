#include "loadlevel/cli/drain_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace ssi::cli {

using nlohmann::json;

TEST_CASE("a drain says of each process where it went, or why it stays, and sums up") {
  const json part = json::parse(
      R"({"pid":"70041","from":2,"to":1,"frozen_ms":41.4,"memory_bytes":67108864,
          "progress":{"moved":1,"to_go":2,"total":4}})");
  CHECK(drain_part_text(part) == "70041: 2 -> 1, frozen 41 ms, 64 MiB\n");
  CHECK(drain_part_text(json::parse(R"({"progress":{}})")).empty());
  CHECK(drain_text(json::parse(R"({"node":2,"up":true,"moved":[{},{}],"staying":[],
                                   "guests_left":0})")) ==
        "node 2 is drained: 2 moved, none stays; `cluster bring 2` opens it again\n");
  CHECK(drain_text(json::parse(R"({"node":2,"up":true,"moved":[],"guests_left":1,"staying":
            [{"pid":"70041","guest":true,"reason":"a device is open: /dev/kvm"},
             {"pid":"131080","guest":false,"reason":"it is pinned to node 2"}]})")) ==
        "70041: stays: a device is open: /dev/kvm\n"
        "131080: stays: it is pinned to node 2\n"
        "node 2 is drained: 0 moved, 2 stay, 1 of other nodes; `cluster bring 2` opens it again\n");
  CHECK(drain_text(json::parse(R"({"node":3,"up":false,"moved":[],"staying":[]})")) ==
        "node 3 is drained; it is not up; `cluster bring 3` opens it again\n");
  CHECK(bring_text(json::parse(R"({"node":2,"drained":false})")) == "node 2 takes guests again\n");
}

TEST_CASE("the bar is as full as there is nothing left to go") {
  const auto bar = [](int to_go, int total) {
    return drain_bar({{"progress", {{"moved", 0}, {"to_go", to_go}, {"total", total}}}});
  };
  CHECK(bar(50, 50) == "[>                             ] 0 of 50");
  CHECK(bar(25, 50) == "[===============>              ] 25 of 50");
  CHECK(bar(0, 50) == "[==============================] 50 of 50");
  CHECK(bar(0, 0).empty());
  CHECK(drain_bar(json::parse(R"({"node":2,"drained":true})")).empty());
}

TEST_CASE("an answer of another shape is printed without a crash") {
  for (const char* odd : {"null", "[]", "7", R"({"progress":7,"staying":7,"node":"x"})",
                          R"({"progress":{"total":-1},"staying":[7,null],"moved":{}})",
                          R"({"progress":{"total":3,"to_go":-9}})"}) {
    const json answer = json::parse(odd);
    (void)drain_bar(answer);
    CHECK(!drain_text(answer).empty());
    CHECK(!bring_text(answer).empty());
    (void)drain_part_text(answer);
  }
}

}  // namespace ssi::cli
