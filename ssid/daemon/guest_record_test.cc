#include "ssid/daemon/guest_record.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("what a guest has is the same after a restart") {
  GuestRecord record;
  record.ticket.pid = {NodeId{1}, 70041};
  record.ticket.members.push_back({70042, 9, "cc1", "/usr/bin/cc1", 1000});
  record.over = {70042};
  record.streams = {{.id = 5, .key = "pipe:[12]", .write_end = true, .generation = 2},
                    {.id = 6,
                     .key = "socket:[44]",
                     .generation = 3,
                     .local_key = "socket:[77]",
                     .address = std::string("\0\xff\0b", 4),
                     .pid = 70041,
                     .number = 5},
                    {.id = 7, .key = "socket:[78]", .socket = 7, .peer_uid = 1000, .peer_gid = 50}};
  const auto read = guest_record_from_json(to_json(record));
  REQUIRE(read.ok());
  CHECK(read->ticket.pid == record.ticket.pid);
  CHECK(read->over == record.over);
  REQUIRE(read->streams.size() == 3);
  CHECK(!read->streams[0].listens());
  CHECK(read->streams[0].write_end);
  CHECK(read->streams[1].address == record.streams[1].address);
  CHECK(read->streams[1].local_key == "socket:[77]");
  CHECK(read->streams[1].pid == 70041);
  CHECK(read->streams[1].number == 5);
  CHECK(read->streams[1].generation == 3);
  CHECK(read->streams[2].socket == 7);
  CHECK(read->streams[2].peer_gid == 50);
  CHECK(!guest_record_from_json("{").ok());
  CHECK(!guest_record_from_json("{}").ok());
}
