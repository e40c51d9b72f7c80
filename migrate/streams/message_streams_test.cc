// A unix socket of messages (seqpacket) of a guest whose other end stays at home.
#include <sys/socket.h>

#include <vector>

#include "migrate/streams/messages.h"
#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr StreamId kOut = 1, kIn = 2;  // seen from the guest

bool is_root() { return ::geteuid() == 0; }
UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(*fd, F_DUPFD_CLOEXEC, 0)); }

struct Home {
  Net net;
  UniqueFd peer;
  std::uint64_t generation = 0;

  Home() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    peer = UniqueFd(pair[0]);
    UniqueFd guests(pair[1]);
    UniqueFd second = duplicate(guests);
    REQUIRE(net.home.export_fd(kOut, StreamDirection::kGuestWrites, std::move(guests)).ok());
    REQUIRE(net.home.export_fd(kIn, StreamDirection::kGuestReads, std::move(second)).ok());
  }
};

struct Guest {
  StreamTarget& node;
  std::uint64_t generation;
  UniqueFd fd;

  Guest(Home& home, StreamTarget& where) : node(where), generation(++home.generation) {
    const UniqueFd network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    for (const StreamId id : {kOut, kIn}) {
      const auto direction =
          id == kOut ? StreamDirection::kGuestWrites : StreamDirection::kGuestReads;
      StreamTarget::Attach attach{id, generation, direction, 0, home.net.dial()};
      attach.socket = kOut;
      attach.network = duplicate(network);
      attach.socket_type = SOCK_SEQPACKET;
      auto end = node.attach(std::move(attach));
      REQUIRE(end.ok());
      fd = std::move(*end);
    }
  }
  void start() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.start(id).ok());
  }
  void drain() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.drain(id, 10'000).ok());
  }
  void resume() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.resume(id).ok());
  }
  void leave() {
    for (const StreamId id : {kOut, kIn}) (void)node.close(id, generation).ok();
    fd.reset();
  }
};

bool send_message(int fd, const std::string& message) {
  return ::send(fd, message.data(), message.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(message.size());
}
// None: the end, or nothing came.
std::optional<std::string> receive_message(int fd) {
  if (!comes_within(fd, POLLIN, 10'000)) return {};
  std::string message(kMessageBytesMax, '\0');
  const ssize_t got = ::recv(fd, message.data(), message.size(), 0);
  if (got <= 0) return {};
  message.resize(static_cast<std::size_t>(got));
  return message;
}

std::vector<std::string> many_messages(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::string> messages;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = i % 50 == 49 ? 150'000 : random() % 3000 + 1;
    messages.push_back(pattern(size, static_cast<unsigned>(i)));
  }
  return messages;
}

}  // namespace

TEST_CASE("messages go both ways as they are, over lost connections") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  const auto out = many_messages(500, 1), in = many_messages(500, 2);
  std::thread cutter([&] {
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      home.net.cut();
    }
  });
  const auto send_all = [](int fd, const std::vector<std::string>& messages) {
    for (const auto& message : messages) CHECK(send_message(fd, message));
  };
  const auto receive_all = [](int fd, const std::vector<std::string>& messages) {
    for (const auto& message : messages) CHECK((receive_message(fd) == message));
  };
  std::thread guest_writes([&] { send_all(*guest.fd, out); });
  std::thread peer_writes([&] { send_all(*home.peer, in); });
  std::thread guest_reads([&] { receive_all(*guest.fd, in); });
  receive_all(*home.peer, out);
  for (std::thread* t : {&cutter, &guest_writes, &peer_writes, &guest_reads}) t->join();
}

TEST_CASE("an empty message is one, too") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  REQUIRE(::send(*home.peer, "", 0, 0) == 0);
  REQUIRE(send_message(*home.peer, "next"));
  REQUIRE(comes_within(*guest.fd, POLLIN, 10'000));
  char byte = 0;
  CHECK(::recv(*guest.fd, &byte, 1, 0) == 0);
  CHECK(receive_message(*guest.fd) == "next");
}

TEST_CASE("a message at a time is read, the rest moves on with the guest, or stays after all") {
  if (!is_root()) return;
  Home home;
  const auto in = many_messages(600, 3), out = many_messages(200, 4);
  std::thread peer_writes([&] {
    for (const auto& message : in) CHECK(send_message(*home.peer, message));
  });
  std::thread peer_reads([&] {
    for (const auto& message : out) CHECK((receive_message(*home.peer) == message));
  });
  std::mt19937 random(5);
  std::vector<std::unique_ptr<StreamTarget>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<StreamTarget>());
  std::size_t read = 0, written = 0;
  const auto work = [&](Guest& guest) {
    for (std::size_t n = random() % 20; n > 0 && written < out.size(); --n) {
      CHECK(send_message(*guest.fd, out[written++]));
    }
    for (std::size_t n = random() % 40; n > 0 && read < in.size(); --n) {
      REQUIRE((receive_message(*guest.fd) == in[read++]));
    }
  };
  for (int i = 0; read < in.size() || written < out.size(); ++i) {
    Guest guest(home, *nodes[static_cast<std::size_t>(i) % 3]);
    guest.start();
    work(guest);
    if (i % 4 == 0) home.net.cut();
    guest.drain();
    if (i % 3 == 0) {  // the move is called off
      guest.resume();
      work(guest);
      guest.drain();
    }
    guest.leave();
  }
  peer_writes.join();
  peer_reads.join();
}

TEST_CASE("the end of either is the other's") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  SUBCASE("at home") {
    REQUIRE(send_message(*home.peer, "farewell"));
    home.peer.reset();
    CHECK(receive_message(*guest.fd) == "farewell");
    CHECK_FALSE(receive_message(*guest.fd).has_value());
  }
  SUBCASE("the guest's") {
    REQUIRE(send_message(*guest.fd, "farewell"));
    guest.fd.reset();
    CHECK(receive_message(*home.peer) == "farewell");
    CHECK_FALSE(receive_message(*home.peer).has_value());
  }
}
