// A unix socket of messages (seqpacket) of a guest whose other end stays at home.
#include <optional>
#include <vector>

#include "migrate/streams/messages.h"
#include "migrate/streams/test_socket.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

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
  SocketHome home(SOCK_SEQPACKET);
  StreamTarget node;
  SocketGuest guest(home, node);
  guest.start();
  const auto out = many_messages(500, 1), in = many_messages(500, 2);
  std::thread cutter([&] { home.net.cut_often(10); });
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
  SocketHome home(SOCK_SEQPACKET);
  StreamTarget node;
  SocketGuest guest(home, node);
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
  SocketHome home(SOCK_SEQPACKET);
  const auto in = many_messages(600, 3), out = many_messages(200, 4);
  std::thread peer_writes([&] {
    for (const auto& message : in) CHECK(send_message(*home.peer, message));
  });
  std::thread peer_reads([&] {
    for (const auto& message : out) CHECK((receive_message(*home.peer) == message));
  });
  std::mt19937 random(5);
  StreamTarget nodes[3];
  std::size_t read = 0, written = 0;
  const auto work = [&](SocketGuest& guest) {
    for (std::size_t n = random() % 20; n > 0 && written < out.size(); --n) {
      CHECK(send_message(*guest.fd, out[written++]));
    }
    for (std::size_t n = random() % 40; n > 0 && read < in.size(); --n) {
      REQUIRE((receive_message(*guest.fd) == in[read++]));
    }
  };
  const auto is_more = [&] { return read < in.size() || written < out.size(); };
  work_and_move_on(home, nodes, is_more, work);
  peer_writes.join();
  peer_reads.join();
}

TEST_CASE("the end of either is the other's") {
  if (!is_root()) return;
  SocketHome home(SOCK_SEQPACKET);
  StreamTarget node;
  SocketGuest guest(home, node);
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
