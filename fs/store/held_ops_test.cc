#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "fs/store/test_client.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

UniqueFd make_file(const std::string& path, std::string_view content) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  REQUIRE(::write(*fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  return fd;
}

int ask_held(Client& client, Op op, std::uint64_t id, std::uint64_t handle = 0) {
  RequestHead head;
  head.op = op;
  head.handle = handle;
  const HeldBody body{id};
  return client.ask(head, {bytes_of(body)});
}

OpenReply open_node(Client& client, std::uint64_t node) {
  RequestHead head;
  head.op = Op::kOpen;
  head.node = node;
  const OpenBody body{O_RDWR, 0};
  REQUIRE(client.ask(head, {bytes_of(body)}) == 0);
  return client.reply<OpenReply>();
}

std::string read_all(Client& client, std::uint64_t handle) {
  RequestHead head;
  head.op = Op::kRead;
  head.handle = handle;
  RangeBody body;
  body.size = 100;
  REQUIRE(client.ask(head, {bytes_of(body)}) == 0);
  const ByteSpan data = client.frame.span().subspan(sizeof(ReplyHead));
  return {data.begin(), data.end()};
}

}  // namespace

TEST_CASE("a deleted file is the same one for who opens it by its hold") {
  TempDir dir;
  Store store({.root = dir.path});
  const auto file =
      std::make_shared<const UniqueFd>(make_file(dir.path + "/gone", "what it holds"));
  const std::uint64_t id = store.held().hold(file);
  std::filesystem::remove(dir.path + "/gone");
  make_file(dir.path + "/gone", "another one of that name");

  Client client(store);
  REQUIRE(ask_held(client, Op::kHeld, id) == 0);
  const auto entry = client.reply<EntryReply>();
  CHECK(entry.attr.nlink == 0);
  CHECK(ask_held(client, Op::kUnhold, id) == 0);
  CHECK(ask_held(client, Op::kHeld, id) == ENOENT);
  const auto opened = open_node(client, entry.node);  // what was found stays
  CHECK(read_all(client, opened.handle) == "what it holds");
  REQUIRE(::pwrite(**file, "W", 1, 0) == 1);
  CHECK(read_all(client, opened.handle) == "What it holds");
}

TEST_CASE("a guest's open file is held for its next node, with nobody in between having its lock") {
  TempDir dir;
  Store store({.root = dir.path});
  const UniqueFd other = make_file(dir.path + "/f", "x");
  Client source(store, 1), target(store, 2);
  EntryReply there, here;
  REQUIRE(source.lookup(kRootNode, "f", there) == 0);
  const auto before = open_node(source, there.node);
  RequestHead head;
  head.op = Op::kFlock;
  head.handle = before.handle;
  LockBody lock;
  lock.type = LOCK_EX;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);

  head.op = Op::kHold;
  REQUIRE(source.ask(head, {}) == 0);
  const std::uint64_t id = source.reply<HeldBody>().id;
  REQUIRE(target.lookup(kRootNode, "f", here) == 0);
  const auto after = open_node(target, here.node);
  REQUIRE(ask_held(target, Op::kAdopt, id, after.handle) == 0);
  CHECK(ask_held(target, Op::kUnhold, id) == 0);
  head.op = Op::kRelease;
  REQUIRE(source.ask(head, {}) == 0);
  CHECK(::flock(*other, LOCK_EX | LOCK_NB) == -1);

  head.op = Op::kFlock;
  head.handle = after.handle;
  lock.type = LOCK_UN;
  REQUIRE(target.ask(head, {bytes_of(lock)}) == 0);
  CHECK(::flock(*other, LOCK_EX | LOCK_NB) == 0);
}

TEST_CASE("users of other nodes have nothing held and get nothing that is") {
  TempDir dir;
  Store store({.root = dir.path});
  const auto file = std::make_shared<const UniqueFd>(make_file(dir.path + "/f", "x"));
  const std::uint64_t id = store.held().hold(file);
  Client other(store, 1, 1, 0);
  CHECK(ask_held(other, Op::kHeld, id) == EPERM);
  CHECK(ask_held(other, Op::kUnhold, id) == EPERM);
  EntryReply entry;
  REQUIRE(other.lookup(kRootNode, "f", entry) == 0);
  const auto opened = open_node(other, entry.node);
  CHECK(ask_held(other, Op::kAdopt, id, opened.handle) == EPERM);
  RequestHead head;
  head.op = Op::kHold;
  head.handle = opened.handle;
  CHECK(other.ask(head, {}) == EPERM);
  CHECK(store.held().size() == 1);
  CHECK(store.held().find(id) == file);
}

TEST_CASE("what is shown empty is not held: it would be found with its contents") {
  TempDir dir;
  std::filesystem::create_directories(dir.path + "/proc/1");
  Store store({.root = dir.path});
  Client client(store);
  EntryReply proc;
  REQUIRE(client.lookup(kRootNode, "proc", proc) == 0);
  RequestHead head;
  head.op = Op::kHold;
  head.node = proc.node;
  CHECK(client.ask(head, {}) == EACCES);
  head.op = Op::kOpendir;
  const OpenBody body{O_RDONLY | O_DIRECTORY, 0};
  REQUIRE(client.ask(head, {bytes_of(body)}) == 0);
  head.op = Op::kHold;
  head.handle = client.reply<OpenReply>().handle;
  CHECK(client.ask(head, {}) == EACCES);
  CHECK(store.held().size() == 0);
}

TEST_CASE("an open file does not become another file") {
  TempDir dir;
  Store store({.root = dir.path});
  make_file(dir.path + "/f", "x");
  const auto held = std::make_shared<const UniqueFd>(make_file(dir.path + "/g", "y"));
  Client client(store);
  EntryReply entry;
  REQUIRE(client.lookup(kRootNode, "f", entry) == 0);
  const auto opened = open_node(client, entry.node);
  CHECK(ask_held(client, Op::kAdopt, store.held().hold(held), opened.handle) == EINVAL);
  CHECK(ask_held(client, Op::kAdopt, 12345, opened.handle) == ENOENT);
  CHECK(read_all(client, opened.handle) == "x");
}

TEST_CASE("record locks of an open file are its own, and go with it to the guest's next node") {
  TempDir dir;
  Store store({.root = dir.path});
  const UniqueFd other = make_file(dir.path + "/f", "x");
  const auto is_free = [&] {
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    REQUIRE(::fcntl(*other, F_OFD_GETLK, &wanted) == 0);
    return wanted.l_type == F_UNLCK;
  };
  Client source(store, 1), target(store, 2);
  EntryReply there, here;
  REQUIRE(source.lookup(kRootNode, "f", there) == 0);
  const auto before = open_node(source, there.node), second = open_node(source, there.node);
  RequestHead head;
  head.op = Op::kSetlk;
  head.handle = before.handle;
  LockBody lock;
  lock.type = F_WRLCK;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);
  head.handle = second.handle;
  CHECK(source.ask(head, {bytes_of(lock)}) == EAGAIN);  // another owner, of the same process
  head.op = Op::kGetlk;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);
  CHECK(source.reply<LockBody>().type == F_WRLCK);

  head.op = Op::kHold;
  head.handle = before.handle;
  REQUIRE(source.ask(head, {}) == 0);
  const std::uint64_t id = source.reply<HeldBody>().id;
  REQUIRE(target.lookup(kRootNode, "f", here) == 0);
  const auto after = open_node(target, here.node);
  REQUIRE(ask_held(target, Op::kAdopt, id, after.handle) == 0);
  CHECK(ask_held(target, Op::kUnhold, id) == 0);
  head.op = Op::kRelease;
  REQUIRE(source.ask(head, {}) == 0);
  CHECK(!is_free());
  head.op = Op::kSetlk;
  head.handle = after.handle;
  REQUIRE(target.ask(head, {bytes_of(lock)}) == 0);  // it has it
  head.op = Op::kRelease;
  REQUIRE(target.ask(head, {}) == 0);
  CHECK(is_free());
}

TEST_CASE("record locks of a process are held for its next node, with nobody in between") {
  TempDir dir;
  Store store({.root = dir.path});
  const UniqueFd other = make_file(dir.path + "/f", "x");
  make_file(dir.path + "/g", "x");
  const auto is_free = [&](off_t start) {
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    wanted.l_start = start;
    wanted.l_len = 1;
    REQUIRE(::fcntl(*other, F_OFD_GETLK, &wanted) == 0);
    return wanted.l_type == F_UNLCK;
  };
  constexpr std::uint64_t kBefore = 77, kAfter = 78;  // how each node's kernel calls the process
  Client source(store, 1), target(store, 2);
  EntryReply there, here, another;
  REQUIRE(source.lookup(kRootNode, "f", there) == 0);
  RequestHead head;
  head.op = Op::kSetlk;
  head.node = there.node;
  LockBody lock;
  lock.owner = kBefore;
  lock.type = F_WRLCK;
  lock.length = 10;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);
  head.op = Op::kHoldLocks;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);
  const std::uint64_t id = source.reply<HeldBody>().id;

  REQUIRE(target.lookup(kRootNode, "f", here) == 0);
  REQUIRE(target.lookup(kRootNode, "g", another) == 0);
  head.op = Op::kAdoptLocks;
  const AdoptLocksBody adopt{id, kAfter};
  head.node = another.node;
  CHECK(target.ask(head, {bytes_of(adopt)}) == EINVAL);
  head.node = here.node;
  REQUIRE(target.ask(head, {bytes_of(adopt)}) == 0);
  CHECK(ask_held(target, Op::kUnhold, id) == 0);
  CHECK(target.ask(head, {bytes_of(adopt)}) == ENOENT);
  head.op = Op::kUnlockOwner;
  head.node = there.node;
  REQUIRE(source.ask(head, {bytes_of(lock)}) == 0);  // the old copy ends
  CHECK(!is_free(0));

  head.op = Op::kSetlk;
  head.node = here.node;
  lock.owner = kAfter;
  REQUIRE(target.ask(head, {bytes_of(lock)}) == 0);  // it has it
  lock.start = 3;
  lock.length = 4;
  lock.type = F_UNLCK;
  REQUIRE(target.ask(head, {bytes_of(lock)}) == 0);
  CHECK(!is_free(2));
  CHECK(is_free(3));
  CHECK(!is_free(7));
  head.op = Op::kUnlockOwner;
  REQUIRE(target.ask(head, {bytes_of(lock)}) == 0);  // it closed the file
  CHECK(is_free(2));
}
