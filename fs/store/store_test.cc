#include "fs/store/store.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>

#include "fs/store/test_client.h"

using namespace ssi;
using namespace ssi::fs;

TEST_CASE("a guest's files belong to the guest, with its umask") {
  TempDir dir;
  Store store({.root = dir.path});
  Client client(store);
  REQUIRE(client.make(Op::kMkdir, kRootNode, "d", 0777) == 0);
  const auto made = client.reply<EntryReply>();
  CHECK((made.attr.mode & 07777) == 0755);
  CHECK(made.attr.uid == 1234);
  REQUIRE(client.make(Op::kCreate, made.node, "f", 0666) == 0);
  const auto created = client.reply<CreateReply>();
  CHECK((created.attr.mode & 07777) == 0644);
  CHECK(created.attr.gid == 1234);
  EntryReply again;
  REQUIRE(client.lookup(made.node, "f", again) == 0);
  CHECK(again.node == created.node);
}

TEST_CASE("a request asked again after a lost connection is not done twice") {
  TempDir dir;
  Store store({.root = dir.path});
  std::uint64_t serial = 0;
  {
    Client client(store);
    serial = client.welcome.serial;
    CHECK(client.make(Op::kMkdir, kRootNode, "once", 0777, 7) == 0);
  }
  Client client(store);
  CHECK(client.welcome.serial == serial);
  CHECK(client.make(Op::kMkdir, kRootNode, "once", 0777, 7) == 0);       // the same request
  CHECK(client.make(Op::kMkdir, kRootNode, "once", 0777, 8) == EEXIST);  // another one
}

TEST_CASE("kernel interfaces of home are empty directories") {
  Store store({.root = "/"});
  Client client(store);
  for (const char* name : {"proc", "sys", "dev"}) {
    EntryReply top, inside;
    REQUIRE(client.lookup(kRootNode, name, top) == 0);
    CHECK(client.lookup(top.node, name == std::string("proc") ? "self" : "null", inside) == ENOENT);
    CHECK(client.make(Op::kMkdir, top.node, "x", 0777) == EACCES);
  }
  EntryReply run, ssid;
  REQUIRE(client.lookup(kRootNode, "run", run) == 0);
  EntryReply etc;
  CHECK(client.lookup(kRootNode, "etc", etc) == 0);
}

TEST_CASE("another node does not see this one's /cluster, a guest does") {
  TempDir dir;
  std::filesystem::create_directories(dir.path + "/cluster/node/2");
  std::filesystem::create_directories(dir.path + "/a/cluster/node");
  Store store({.root = dir.path});
  Client guest(store, 1, 1, 1), other(store, 2, 1, 0);
  EntryReply cluster, inside, a;
  REQUIRE(guest.lookup(kRootNode, "cluster", cluster) == 0);
  CHECK(guest.lookup(cluster.node, "node", inside) == 0);
  REQUIRE(other.lookup(kRootNode, "cluster", cluster) == 0);
  CHECK(cluster.attr.mode == (S_IFDIR | 0555));
  CHECK(other.lookup(cluster.node, "node", inside) == ENOENT);
  CHECK(other.make(Op::kMkdir, cluster.node, "x", 0777) == EACCES);
  RequestHead list;
  list.op = Op::kReaddir;
  list.node = cluster.node;
  RangeBody body;
  body.size = 4096;
  body.mode = 1;
  REQUIRE(other.ask(list, {bytes_of(body)}) == 0);
  CHECK(other.frame.size() ==
        sizeof(ReplyHead) + sizeof(ReaddirReply) + 2 * sizeof(DirEntryHead) + 3);
  REQUIRE(other.lookup(kRootNode, "a", a) == 0);
  REQUIRE(other.lookup(a.node, "cluster", cluster) == 0);  // another one of that name
  CHECK(other.lookup(cluster.node, "node", inside) == 0);
}

TEST_CASE("names that could lead elsewhere close the connection, and nothing else") {
  TempDir dir;
  Store store({.root = dir.path});
  for (const std::string& name : {std::string(".."), std::string("."), std::string("a/b"),
                                  std::string(), std::string("a\0b", 3), std::string(256, 'x')}) {
    Client client(store);
    EntryReply entry;
    CHECK(client.lookup(kRootNode, name, entry) == -1);
  }
  Client client(store);
  EntryReply entry;
  CHECK(client.lookup(kRootNode, "nothing", entry) == ENOENT);
  CHECK(store.stats().refused == 6);
}

TEST_CASE("rubbish never does more than end its connection") {
  TempDir dir;
  Store store({.root = dir.path});
  std::mt19937_64 random(20260101);
  for (int round = 0; round < 300; ++round) {
    Client client(store, static_cast<std::uint8_t>(round), 1);
    for (int i = 0; i < 20; ++i) {
      RequestHead head;
      head.op = static_cast<Op>(random() % 40);
      head.node = random() % 3;
      head.node2 = random() % 3;
      head.handle = random() % 3;
      std::vector<std::uint8_t> body(random() % 200);
      for (auto& byte : body) byte = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : 0);
      if (client.ask(head, {ByteSpan(body)}) == -1) break;
    }
  }
  Client client(store, 255);
  EntryReply entry;
  CHECK(client.lookup(kRootNode, "nothing", entry) == ENOENT);
}

TEST_CASE("more files than descriptors") {
  TempDir dir;
  for (int i = 0; i < 200; ++i) std::ofstream(dir.path + "/f" + std::to_string(i)) << i;
  Store store({.root = dir.path, .session_kept = std::chrono::seconds(60), .fds_max = 10});
  Client client(store);
  std::vector<std::uint64_t> nodes;
  for (int i = 0; i < 200; ++i) {
    EntryReply entry;
    REQUIRE(client.lookup(kRootNode, "f" + std::to_string(i), entry) == 0);
    nodes.push_back(entry.node);
  }
  for (int i = 0; i < 200; ++i) {
    RequestHead head;
    head.op = Op::kGetattr;
    head.node = nodes[static_cast<std::size_t>(i)];
    REQUIRE(client.ask(head, {}) == 0);
    CHECK(client.reply<Attr>().size == std::to_string(i).size());
  }
  // A name that leads to another file now is not taken for the old one.
  // (The new one is made first: a file system may give a file the number of one that was removed.)
  std::ofstream(dir.path + "/new") << "new";
  std::filesystem::rename(dir.path + "/new", dir.path + "/f3");
  RequestHead head;
  head.op = Op::kGetattr;
  head.node = nodes[3];
  CHECK(client.ask(head, {}) == ESTALE);
}
