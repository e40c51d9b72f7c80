#include <doctest/doctest.h>
#include <stdlib.h>
#include <time.h>

#include <nlohmann/json.hpp>

#include "loadlevel/cli/cluster_text.h"
#include "loadlevel/cli/loadlevel_text.h"
#include "loadlevel/cli/migrate_text.h"
#include "loadlevel/cli/reply.h"
#include "loadlevel/cli/table.h"

namespace ssi::cli {
namespace {

using nlohmann::json;

const json kStatus = json::parse(R"({
  "self": 1, "quorate": true, "members": 2, "expected": 3, "needed": 2,
  "nodes": [
    {"id": 1, "name": "n1", "state": "UP", "address": "10.0.0.1", "cpus": 2, "load": 1.254,
     "mem_free_bytes": 13207024435, "guests_in": 0, "guests_out": 12, "accepting": true},
    {"id": 2, "name": "longer", "state": "JOINING", "address": "10.0.0.22", "cpus": 16, "load": 0,
     "mem_free_bytes": 536870912, "guests_in": 12, "guests_out": 0, "accepting": false},
    {"id": 3, "name": "n3", "state": "DOWN", "address": "10.0.0.3"}]})");

}  // namespace

TEST_CASE("cluster shows every node on one line") {
  CHECK(cluster_text(kStatus) == "1: UP 2: JOINING 3: DOWN\n");
  CHECK(cluster_text(json::object()) == "\n");
}

TEST_CASE("cluster -v shows a line a node, what is not known as a dash, and quorum at the end") {
  CHECK(cluster_text_long(kStatus) ==
        "1: UP       n1      10.0.0.1   cpus 2   load 1.25  free 12.3 GiB  guests 0 in 12 out\n"
        "2: JOINING  longer  10.0.0.22  cpus 16  load 0.00  free 512 MiB   guests 12 in 0 out, "
        "takes no guests\n"
        "3: DOWN     n3      10.0.0.3   cpus -   load -     free -         guests - in - out\n"
        "quorum: yes, 2 of 3 nodes, 2 needed\n");
  CHECK(cluster_text_long(json::parse(
            R"({"nodes":[{"id":2,"state":"UP","name":"n2","address":"a","accepting":false,
                          "drained":true},{"id":3,"state":"DOWN","drained":true}]})")) ==
        "2: UP DRAINED    n2  a  cpus -  load -  free -  guests - in - out\n"
        "3: DOWN DRAINED  -   -  cpus -  load -  free -  guests - in - out\n"
        "quorum: no, nothing is moved or changed\n");
  CHECK(
      cluster_text_long(json::parse(R"({"quorate":false,"members":1,"expected":3,"needed":2})")) ==
      "quorum: no, nothing is moved or changed: 1 of 3 nodes, 2 needed\n");
}

TEST_CASE("events are lines with their time, if they have one") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  CHECK(event_text(json::parse(R"({"time_ms":1795323600999,"text":"node 2 joined"})")) ==
        "2026-11-22 05:00:00 node 2 joined\n");
  CHECK(events_text(json::parse(
            R"({"events":[{"text":"70041 (xz\u001b[2J): 1 -> 2"},{"text":"node 2 left"}]})")) ==
        "70041 (xz?[2J): 1 -> 2\nnode 2 left\n");
  CHECK(events_text(json::object()).empty());
}

TEST_CASE("migrate says from where to where, how long frozen, how much") {
  const json moved = json::parse(
      R"({"pid":"70041","from":1,"to":2,"frozen_ms":41.4,"memory_bytes":67108864,"check_ms":0.8,
          "freeze_ms":0.42,"dump_ms":12.4,"send_ms":3.14,"restore_ms":15,"commit_ms":2})");
  CHECK(migrate_text(moved) == "70041: 1 -> 2, frozen 41 ms, 64 MiB\n");
  CHECK(migrate_text_with_steps(moved) ==
        "70041: 1 -> 2, frozen 41 ms, 64 MiB\n"
        "70041: check 0.8 ms, freeze 0.4 ms, dump 12 ms, send 3.1 ms, restore 15 ms, commit 2.0 "
        "ms\n");
  CHECK(migrate_text(json::parse(R"({"pid":"1:345","from":1,"to":2,"dry_run":true})")) ==
        "1:345: 1 -> 2, can be moved\n");
  CHECK(migrate_progress_text(json::parse(R"({"pid":7,"waiting":"it is being moved"})")) ==
        "7: waiting: it is being moved\n");
  CHECK(migrate_text(json::parse(R"({"pid":"70041","from":2,"to":2,"already":true})")) ==
        "70041: runs on node 2 already\n");
}

TEST_CASE("loadlevel's answers in words") {
  CHECK(loadlevel_set_text(json::parse(R"({"pid":"70041","enabled":true})")) == "70041: enabled\n");
  CHECK(loadlevel_set_text(json::parse(R"({"pid":"70041","enabled":false})")) ==
        "70041: disabled\n");
  CHECK(loadlevel_balancer_text(json::parse(
            R"({"balancing":false,"nodes":[{"node":1,"ok":true},{"node":2,"ok":true}]})")) ==
        "balancer: 1: off 2: off\n");
  CHECK(loadlevel_list_text(
            json::parse(R"({"paths":["/usr/bin/xz","/opt/a"],"problems":["line 3: bin/x"]})")) ==
        "/usr/bin/xz\n/opt/a\n# not understood: line 3: bin/x\n");
  CHECK(loadlevel_status_text(json::parse(R"({"balancing":true,"enabled":[]})")) ==
        "balancer: on\nno process here is enabled\n");
  CHECK(loadlevel_status_text(json::parse(
            R"({"balancing":true,
                "enabled":[{"pid":70041,"comm":"xz","reason":"on the list: /usr/bin/xz"}]})")) ==
        "balancer: on\n"
        "  PID COMMAND WHY\n"
        "70041 xz      on the list: /usr/bin/xz\n");
  CHECK(loadlevel_status_text(json::parse(
            R"({"pid":"70041","enabled":true,"reason":"enabled by uid 0","node":2})")) ==
        "70041: enabled, on node 2: enabled by uid 0\n");
  CHECK(loadlevel_why_text(json::parse(
            R"({"pid":"70041","node":1,"cantmove":"io_uring is open",
                "reasons":["enabled by uid 0","stays: node 2 is as busy"]})")) ==
        "70041: on node 1\n"
        "  cannot move: io_uring is open\n"
        "  enabled by uid 0\n"
        "  stays: node 2 is as busy\n");
}

TEST_CASE("an answer of another shape is printed without a crash") {
  for (const char* odd : {"null", "[]", "7", R"({"nodes":7})", R"({"nodes":[7,null,{}]})",
                          R"({"enabled":[[]],"rows":{}})", R"({"reasons":[1],"events":[7]})",
                          R"({"dump_ms":"x","pid":{}})"}) {
    const json answer = json::parse(odd);
    CHECK(!cluster_text(answer).empty());
    CHECK(!cluster_text_long(answer).empty());
    CHECK(!event_text(answer).empty());
    (void)events_text(answer);
    (void)loadlevel_list_text(answer);
    CHECK(!migrate_text_with_steps(answer).empty());
    CHECK(!loadlevel_status_text(answer).empty());
    CHECK(!loadlevel_why_text(answer).empty());
  }
}

TEST_CASE("sizes and times are short") {
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(1024) == "1 KiB");
  CHECK(bytes_text(1536) == "1.5 KiB");
  CHECK(bytes_text(1024.0 * 1024 * 1024 - 1) == "1 GiB");
  CHECK(ms_text(0) == "0 ms");
  CHECK(ms_text(0.04) == "0.0 ms");
  CHECK(ms_text(9.96) == "10 ms");
  CHECK(table_text({{"A"}, {"B", Align::kRight}}, {{"long", "1"}}) == "A    B\nlong 1\n");
}

}  // namespace ssi::cli
