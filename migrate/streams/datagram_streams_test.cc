// A datagram socket of a guest that others at home reach by its name.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <optional>

#include "migrate/fds/unix_socket_state.h"
#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr StreamId kId = 5;

struct Name {
  sockaddr_un address{};
  socklen_t bytes = 0;
  explicit Name(const std::string& name) {
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&address); }
};

UniqueFd bound_to(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const Name at(name);
  REQUIRE(::bind(*fd, at.raw(), at.bytes) == 0);
  return fd;
}
bool send_to(const std::string& name, const std::string& message, int flags = 0) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const Name at(name);
  return ::sendto(*fd, message.data(), message.size(), flags, at.raw(), at.bytes) >= 0;
}
std::optional<std::string> receive(const UniqueFd& fd, int timeout_ms = 10'000) {
  if (!comes_within(*fd, POLLIN, timeout_ms)) return {};
  std::string message(300'000, '\0');
  const ssize_t got = ::recv(*fd, message.data(), message.size(), MSG_DONTWAIT);
  if (got < 0) return {};
  message.resize(static_cast<std::size_t>(got));
  return message;
}

bool wait_for(const UniqueFd& socket, std::uint32_t datagrams) {
  for (int i = 0; i < 10'000; ++i) {
    if (fds::count_datagrams(*socket) >= datagrams) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// Home has the name "NAME.home"; each guest has one of its own, for all are in one namespace here.
struct Home {
  Net net;
  std::string name;
  std::uint64_t generation = 0;

  explicit Home(std::string called) : name(std::move(called)) {
    REQUIRE(net.home.export_fd(kId, StreamDirection::kGuestReads, bound_to(name)).ok());
  }
  ~Home() {
    net.home.stop();
    net.cut();
  }
};

struct Guest {
  StreamTarget node;
  std::uint64_t generation;
  UniqueFd socket;

  Guest(Home& home, const std::string& name, UniqueFd own = UniqueFd())
      : generation(++home.generation), socket(own ? std::move(own) : bound_to(name)) {
    StreamTarget::Attach attach{kId, generation, StreamDirection::kGuestReads, 0, home.net.dial()};
    attach.address = std::string(1, '\0') + name;
    attach.root = UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    attach.network = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    const auto end = node.attach(std::move(attach));
    REQUIRE(end.ok());
    CHECK_FALSE(*end);  // criu makes it
  }
  ~Guest() { node.stop(); }
  void start() { REQUIRE(node.start(kId).ok()); }
};

}  // namespace

TEST_CASE("datagrams for a guest's name at home come to the guest, whole and in order") {
  Home home("datagrams.home1");
  REQUIRE(send_to(home.name, "early"));
  Guest guest(home, "datagrams.guest1");
  CHECK_FALSE(receive(guest.socket, 50).has_value());  // the move is not decided
  guest.start();
  CHECK(receive(guest.socket) == "early");
  std::thread sender([&] {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const Name at(home.name);
    REQUIRE(::connect(*fd, at.raw(), at.bytes) == 0);
    for (unsigned i = 0; i < 500; ++i) {
      const std::string message = pattern(i % 100 == 99 ? 150'000 : i, i);
      CHECK(::send(*fd, message.data(), message.size(), 0) >= 0);
    }
  });
  for (unsigned i = 0; i < 500; ++i) {
    if (i % 50 == 0) home.net.cut();
    REQUIRE((receive(guest.socket) == pattern(i % 100 == 99 ? 150'000 : i, i)));
  }
  sender.join();
}

TEST_CASE("who sends to a guest that does not read waits, as ever") {
  Home home("datagrams.home2");
  Guest guest(home, "datagrams.guest2");
  guest.start();
  int taken = 0;
  for (int idle = 0; idle < 50;) {
    const bool sent = send_to(home.name, "x" + std::to_string(taken), MSG_DONTWAIT);
    taken += sent ? 1 : 0;
    idle = sent ? 0 : idle + 1;
    if (!sent) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(taken < 50);
  for (int i = 0; i < taken; ++i) CHECK(receive(guest.socket) == "x" + std::to_string(i));
}

TEST_CASE("a guest that goes home finds there what it has not read, in order") {
  for (unsigned read = 0; read <= 10; ++read) {
    CAPTURE(read);
    const std::string number = std::to_string(read);
    Home home("datagrams.home3." + number);
    Guest guest(home, "datagrams.guest3." + number);
    const auto message = [](unsigned i) { return pattern(i * 700 + 1, i); };
    for (unsigned i = 0; i < 10; ++i) REQUIRE(send_to(home.name, message(i)));
    guest.start();
    REQUIRE(wait_for(guest.socket, 10));
    for (unsigned i = 0; i < read; ++i) REQUIRE((receive(guest.socket) == message(i)));
    REQUIRE(guest.node.expect_datagrams(kId, 10 - read).ok());
    REQUIRE(guest.node.drain(kId, 10'000).ok());
    auto itself = home.net.home.duplicate(kId);
    REQUIRE(itself.ok());
    REQUIRE(home.net.home.hand_over(kId).ok());
    CHECK_FALSE(home.net.home.has(kId));
    REQUIRE(send_to(home.name, "late"));
    for (unsigned i = read; i < 10; ++i) REQUIRE((receive(*itself) == message(i)));
    CHECK(receive(*itself) == "late");
  }
}

TEST_CASE("a guest with datagrams of others in its queue does not go home") {
  Home home("datagrams.home4");
  Guest guest(home, "datagrams.guest4");
  guest.start();
  REQUIRE(send_to("datagrams.guest4", "from one who is where it is"));
  const auto expected = guest.node.expect_datagrams(kId, 1);
  REQUIRE_FALSE(expected.ok());
  CHECK(expected.error().code() == ErrorCode::kBusy);
}

TEST_CASE("a guest that goes on takes along what it has not read; so it does if it stays") {
  Home home("datagrams.home5");
  auto first = std::make_unique<Guest>(home, "datagrams.guest5");
  for (const char* message : {"a", "b", "c"}) REQUIRE(send_to(home.name, message));
  first->start();
  CHECK(receive(first->socket) == "a");
  REQUIRE(wait_for(first->socket, 2));
  REQUIRE(first->node.drain(kId, 10'000).ok());
  REQUIRE(send_to(home.name, "d"));
  SUBCASE("it goes on") {
    // criu carries the queue; here it is the same socket.
    UniqueFd socket = std::move(first->socket);
    (void)first->node.close(kId, first->generation).ok();
    first.reset();
    Guest second(home, "datagrams.guest5", std::move(socket));
    second.start();
    for (const char* message : {"b", "c", "d"}) CHECK(receive(second.socket) == message);
    REQUIRE(send_to(home.name, "e"));
    CHECK(receive(second.socket) == "e");
  }
  SUBCASE("it stays") {
    REQUIRE(first->node.resume(kId).ok());
    for (const char* message : {"b", "c", "d"}) CHECK(receive(first->socket) == message);
    REQUIRE(send_to(home.name, "e"));
    CHECK(receive(first->socket) == "e");
  }
}

TEST_CASE("a guest closes its socket: nobody is at its name at home any more") {
  Home home("datagrams.home6");
  Guest guest(home, "datagrams.guest6");
  guest.start();
  guest.socket.reset();
  bool refused = false;
  for (int i = 0; i < 500 && !refused; ++i) {
    refused = !send_to(home.name, "x", MSG_DONTWAIT) && errno == ECONNREFUSED;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(refused);
}
