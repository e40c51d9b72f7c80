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
  "self": 1, "quorate": true, "votes": 2, "expected_votes": 3,
  "nodes": [
    {"node": 1, "name": "n1", "state": "UP", "address": "10.0.0.1", "cpus": 2, "load": 1.254,
     "memory_free_bytes": 13207024435, "guests_in": 0, "guests_out": 12, "balancer": true},
    {"node": 2, "name": "longer", "state": "JOINING", "address": "10.0.0.22", "cpus": 16, "load": 0,
     "memory_free_bytes": 536870912, "guests_in": 12, "guests_out": 0, "balancer": false},
    {"node": 3, "name": "n3", "state": "DOWN", "address": "10.0.0.3", "cpus": null, "load": null}]})");

}  // namespace

TEST_CASE("cluster shows every node on one line") {
  CHECK(cluster_text(kStatus) == "1: UP 2: JOINING 3: DOWN\n");
  CHECK(cluster_text(json::object()) == "\n");
}

TEST_CASE("cluster -v shows a line a node, what is not known as a dash, and quorum at the end") {
  CHECK(cluster_text_long(kStatus) ==
        "1: UP       n1      10.0.0.1   cpus 2   load 1.25  free 12.3 GiB  guests 0 in 12 out\n"
        "2: JOINING  longer  10.0.0.22  cpus 16  load 0.00  free 512 MiB   guests 12 in 0 out, "
        "balancer off\n"
        "3: DOWN     n3      10.0.0.3   cpus -   load -     free -         guests - in - out\n"
        "quorum: yes, 2 of 3 votes\n");
  CHECK(cluster_text_long(json::parse(R"({"quorate":false,"votes":1,"expected_votes":3})")) ==
        "quorum: no, nothing is moved or changed: 1 of 3 votes\n");
}

TEST_CASE("events are lines with their time") {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const auto line = [](const char* event) { return event_text(json::parse(event)); };
  CHECK(line(R"({"time_ms":1795323600999,"kind":"node_up","node":2,"name":"n2"})") ==
        "2026-11-22 05:00:00 node 2 (n2) is up\n");
  CHECK(line(R"({"time_ms":0,"kind":"node_down","node":2})") ==
        "1970-01-01 00:00:00 node 2 is down\n");
  CHECK(line(R"({"time_ms":0,"kind":"quorum","quorate":false})") ==
        "1970-01-01 00:00:00 quorum is lost\n");
  CHECK(line(R"({"time_ms":0,"kind":"move","pid":"70041","from":1,"to":2,"frozen_ms":41.4,
                 "bytes":67108864,"command":"xz\u001b[2J","reason":"node 2 is idle"})") ==
        "1970-01-01 00:00:00 70041: 1 -> 2, frozen 41 ms, 64 MiB, xz?[2J: node 2 is idle\n");
  CHECK(line(R"({"time_ms":0,"kind":"move_failed","pid":7,"from":1,"to":2,"reason":"gone"})") ==
        "1970-01-01 00:00:00 7: 1 -> 2 failed: gone\n");
  CHECK(line(R"({"time_ms":0,"kind":"of_a_later_version","reason":"x"})") ==
        "1970-01-01 00:00:00 of_a_later_version: x\n");
}

TEST_CASE("migrate says from where to where, how long frozen, how much") {
  const json moved =
      json::parse(R"({"pid":"70041","from":1,"to":2,"frozen_ms":41.4,"bytes":67108864,
    "steps_ms":{"check":0.8,"freeze":0.42,"dump":12.4,"send":3.14,"restore":15,"commit":2}})");
  CHECK(migrate_text(moved) == "70041: 1 -> 2, frozen 41 ms, 64 MiB\n");
  CHECK(migrate_text_with_steps(moved) ==
        "70041: 1 -> 2, frozen 41 ms, 64 MiB\n"
        "70041: check 0.8 ms, freeze 0.4 ms, dump 12 ms, send 3.1 ms, restore 15 ms, commit 2.0 "
        "ms\n");
  CHECK(migrate_text(
            json::parse(R"({"pid":"1:345","from":1,"to":2,"dry_run":true,"bytes":1610612736})")) ==
        "1:345: 1 -> 2, can be moved, 1.5 GiB\n");
  CHECK(migrate_text(json::parse(R"({"pid":70041,"from":2,"to":2})")) ==
        "70041: is on 2 already\n");
  CHECK(migrate_progress_text(json::parse(R"({"pid":7,"waiting":"it is being moved"})")) ==
        "7: waiting: it is being moved\n");
  CHECK(migrate_progress_text(json::parse(R"({"pid":7,"step":"dump"})")) == "7: dump\n");
}

TEST_CASE("loadlevel's answers in words") {
  CHECK(loadlevel_set_text(json::parse(R"({"pid":70041,"enabled":true,"children":0})")) ==
        "70041: enabled\n");
  CHECK(loadlevel_set_text(json::parse(R"({"pid":70041,"enabled":false,"children":2})")) ==
        "70041: disabled, and 2 of its children\n");
  CHECK(loadlevel_balancer_text(
            json::parse(R"({"nodes":[{"node":1,"on":true},{"node":2,"on":false}]})")) ==
        "balancer: 1: on 2: off\n");
  CHECK(loadlevel_list_text(json::parse(R"({"paths":["/usr/bin/xz","/opt/a"]})")) ==
        "/usr/bin/xz\n/opt/a\n");
  CHECK(loadlevel_status_text(json::parse(R"({"nodes":[{"node":1,"on":true}],"processes":[]})")) ==
        "balancer: 1: on\nno process is enabled\n");
  CHECK(loadlevel_status_text(json::parse(
            R"({"processes":[{"pid":70041,"node":2,"home":1,"migs":3,"enabled":true,"by":"list",
                              "command":"xz"}]})")) ==
        "  PID NODE HOME MIGS LL      BY   COMMAND\n"
        "70041    2    1    3 enabled list xz\n");
  CHECK(loadlevel_why_text(json::parse(
            R"({"pid":70041,"node":1,"home":1,"enabled":true,"blockers":["io_uring is open"],
                "decision":{"action":"stay","reasons":["node 2 is as busy"]}})")) ==
        "70041: on node 1, home 1, enabled\n"
        "  cannot move: io_uring is open\n"
        "  stay\n"
        "  because node 2 is as busy\n");
  CHECK(loadlevel_why_text(json::parse(R"({"pid":5,"node":1,"home":1,"enabled":false})")) ==
        "5: on node 1, home 1, not enabled\n"
        "  no decision about it yet\n");
}

TEST_CASE("an answer of another shape is printed without a crash") {
  for (const char* odd : {"null", "[]", "7", R"({"nodes":7})", R"({"nodes":[7,null,{}]})",
                          R"({"processes":[[]],"rows":{}})", R"({"decision":[],"blockers":[1]})",
                          R"({"steps_ms":7,"pid":{}})"}) {
    const json answer = json::parse(odd);
    CHECK(!cluster_text(answer).empty());
    CHECK(!cluster_text_long(answer).empty());
    CHECK(!event_text(answer).empty());
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
