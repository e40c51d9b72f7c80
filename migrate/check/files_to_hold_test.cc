#include "migrate/check/files_to_hold.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>

namespace ssi::check {
namespace {

constexpr pid_t kPid = 812;

ProcessFacts process() {
  ProcessFacts facts;
  facts.name.pid = kPid;
  return facts;
}

FdFact file(int number, FdKind kind, std::uint64_t inode) {
  FdFact fd;
  fd.number = number;
  fd.open_file = {kPid, number};
  fd.kind = kind;
  fd.inode = inode;
  return fd;
}

}  // namespace

TEST_CASE("what has a name and no lock is found by its name") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1), file(4, FdKind::kDirectory, 2)};
  CHECK(files_to_hold({facts}, false)->empty());
  CHECK(files_to_hold({facts}, true)->empty());
}

TEST_CASE("what has no name is held, wherever the process has it") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1), file(4, FdKind::kDeletedFile, 2)};
  facts.fds[1].position = 17;
  facts.deleted_mappings = {{"/lib/x.so", "1000-2000"}};
  facts.exe_deleted = facts.cwd_deleted = true;
  const auto files = files_to_hold({facts}, false);
  REQUIRE(files.ok());
  REQUIRE(files->size() == 4);
  CHECK(
      files->at(0) ==
      fds::FileToHold{.pid = kPid, .where = "fd/4", .number = 4, .position = 17, .nameless = true});
  CHECK(files->at(1).where == "map_files/1000-2000");
  CHECK(files->at(2).where == "exe");
  CHECK(files->at(3).where == "cwd");
}

TEST_CASE("a path handle is held if its file has no name") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kPathOnly, 1), file(4, FdKind::kPathOnly, 2)};
  facts.fds[1].nameless = true;
  facts.fds[1].flags = O_PATH | O_NOFOLLOW;
  for (const bool to_home : {false, true}) {
    const auto files = files_to_hold({facts}, to_home);
    REQUIRE(files.ok());
    REQUIRE(files->size() == 1);
    CHECK(files->front() == fds::FileToHold{.pid = kPid,
                                            .where = "fd/4",
                                            .number = 4,
                                            .flags = O_PATH | O_NOFOLLOW,
                                            .nameless = true});
  }
}

TEST_CASE("a lease goes along, if one of its own is told and nobody is breaking it") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1)};
  facts.fds[0].locks.lease = {F_WRLCK, 0};
  facts.fds[0].lease_owner = kPid;
  for (const bool to_home : {false, true}) {
    const auto files = files_to_hold({facts}, to_home);
    REQUIRE(files.ok());
    REQUIRE(files->size() == 1);
    CHECK(files->front().lease == Lease{F_WRLCK, 0});
    CHECK(files->front().nameless == to_home);
  }
  facts.fds[0].locks.lease = {F_UNLCK, 1};
  CHECK(files_to_hold({facts}, false).ok());
  const auto home = files_to_hold({facts}, true);
  REQUIRE(!home);
  CHECK(home.error().message().find("being broken, which can't come home") != std::string::npos);
  facts.fds.push_back(file(4, FdKind::kRegular, 1));
  CHECK(!files_to_hold({facts}, false));
  facts.fds.pop_back();
  facts.fds[0].lease_owner = 1;
  const auto stranger = files_to_hold({facts}, false);
  REQUIRE(!stranger);
  CHECK(stranger.error().message().find("process 1, which stays, is told") != std::string::npos);
}

TEST_CASE("a lock goes along; at home it needs the open file itself") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1), file(5, FdKind::kRegular, 1)};
  facts.fds[0].locks.flock = LOCK_EX;
  const auto away = files_to_hold({facts}, false);
  REQUIRE(away.ok());
  REQUIRE(away->size() == 1);
  CHECK(away->front().flock == LOCK_EX);
  CHECK(!away->front().nameless);

  CHECK(files_to_hold({facts}, true).error().code() == ErrorCode::kRefused);
  facts.fds[1].open_file = {kPid, 3};  // a duplicate
  facts.fds[1].locks.flock = LOCK_EX;
  const auto home = files_to_hold({facts}, true);
  REQUIRE(home.ok());
  CHECK(home->size() == 1);
  CHECK(home->front().nameless);
}

TEST_CASE("a lock that processes of a tree share is one") {
  ProcessFacts parent = process(), child;
  child.name.pid = kPid + 1;
  parent.fds = {file(3, FdKind::kRegular, 1)};
  child.fds = {file(7, FdKind::kRegular, 1)};
  parent.fds[0].locks.flock = child.fds[0].locks.flock = LOCK_EX;
  child.fds[0].open_file = {kPid, 3};
  for (const bool to_home : {false, true}) {
    const auto files = files_to_hold({parent, child}, to_home);
    REQUIRE(files.ok());
    REQUIRE(files->size() == 1);
    CHECK(files->front().pid == kPid);
  }
  child.fds[0].open_file = {kPid + 1, 7};  // opened anew
  CHECK(files_to_hold({parent, child}, true).error().code() == ErrorCode::kRefused);
}

TEST_CASE("what is in flight has no number to be held by") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kDeletedFile, 1)};
  facts.fds[0].in_flight = true;
  CHECK(files_to_hold({facts}, false)->empty());
}

TEST_CASE("record locks of the process go along, of one file all together") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1), file(4, FdKind::kRegular, 1),
               file(5, FdKind::kRegular, 1)};
  const LockRange first{0, 9, F_RDLCK, 0}, second{20, 29, F_RDLCK, 0};
  facts.fds[0].flags = O_WRONLY;
  facts.fds[1].locks.of_process = {first};
  facts.fds[2].locks.of_process = {first, second};
  for (const bool to_home : {false, true}) {
    const auto files = files_to_hold({facts}, to_home);
    REQUIRE(files.ok());
    REQUIRE(files->size() == 1);
    CHECK(files->front().of_process);
    CHECK(files->front().number == 4);  // it may read
    CHECK(files->front().locks == std::vector{first, second});
    CHECK(!files->front().nameless);
  }
}

TEST_CASE("a process with a record lock for writing moves on, and does not come home") {
  ProcessFacts facts = process();
  facts.fds = {file(3, FdKind::kRegular, 1)};
  facts.fds[0].flags = O_RDWR;
  facts.fds[0].locks.at_home = true;
  facts.fds[0].locks.of_process = {{0, 9, F_WRLCK, 0}};
  REQUIRE(files_to_hold({facts}, false).ok());
  CHECK(files_to_hold({facts}, false)->front().at_home);
  CHECK(files_to_hold({facts}, true).error().code() == ErrorCode::kRefused);
}

}  // namespace ssi::check
