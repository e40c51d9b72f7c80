#include "fs/store/store.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "ssid/wire/carrier/socket_channel.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

struct TempDir {
  TempDir() {
    char pattern[] = "/tmp/ssid-store-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
ByteSpan text(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

// A client that speaks the protocol by hand.
struct Client {
  explicit Client(Store& store, std::uint8_t token = 1, std::uint32_t lane = 1) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    channel = std::make_unique<SocketChannel>(UniqueFd(pair[0]));
    LinkHello hello;
    hello.token.fill(token);
    hello.lane = lane;
    server = std::thread([&store, hello, fd = pair[1]] {
      SocketChannel accepted{UniqueFd(fd)};
      store.serve(accepted, hello);
    });
    REQUIRE(channel->recv(frame).ok());
    ByteReader reader(frame.span());
    welcome = reader.get<LinkWelcome>();
  }
  ~Client() {
    channel->abort();
    server.join();
  }
  int ask(RequestHead head, std::initializer_list<ByteSpan> parts) {
    if (head.seq == 0) head.seq = ++seq;
    std::vector<std::uint8_t> all(bytes_of(head).begin(), bytes_of(head).end());
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    if (!channel->send({ByteSpan(all)}).ok() || !channel->recv(frame).ok()) return -1;
    ByteReader reader(frame.span());
    return reader.get<ReplyHead>().error;
  }
  template <typename T>
  T reply() {
    ByteReader reader(frame.span().subspan(sizeof(ReplyHead)));
    return reader.get<T>();
  }
  int lookup(std::uint64_t dir, std::string_view name, EntryReply& entry) {
    RequestHead head;
    head.op = Op::kLookup;
    head.node = dir;
    const NameBody body{static_cast<std::uint32_t>(name.size()), 0};
    const int error = ask(head, {bytes_of(body), text(name)});
    if (error == 0) entry = reply<EntryReply>();
    return error;
  }
  int make(Op op, std::uint64_t dir, std::string_view name, std::uint32_t mode,
           std::uint64_t seq_no = 0) {
    RequestHead head;
    head.seq = seq_no;
    head.op = op;
    head.node = dir;
    head.uid = 1234;
    head.gid = 1234;
    head.umask = 022;
    MakeBody body;
    body.name_bytes = static_cast<std::uint32_t>(name.size());
    body.mode = mode;
    body.flags = 2;  // O_RDWR
    return ask(head, {bytes_of(body), text(name)});
  }

  std::unique_ptr<SocketChannel> channel;
  std::thread server;
  FrameBuffer frame;
  LinkWelcome welcome;
  std::uint64_t seq = 0;
};

}  // namespace

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
