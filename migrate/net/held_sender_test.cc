// With real connections over loopback, paced so that they send for a while. Needs CAP_NET_ADMIN.
#include "migrate/net/held_sender.h"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

namespace ssi::net {
namespace {

using namespace std::chrono_literals;

void set(int socket, int level, int name, unsigned value) {
  REQUIRE(::setsockopt(socket, level, name, &value, sizeof value) == 0);
}

void set_timeout(int socket, time_t seconds) {
  const timeval time{.tv_sec = seconds, .tv_usec = 0};
  REQUIRE(::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0);
}

struct Connection {
  Connection() {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const where = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(*listener, where, size) == 0);
    REQUIRE(::listen(*listener, 1) == 0);
    REQUIRE(::getsockname(*listener, where, &size) == 0);
    sender = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    set(*sender, IPPROTO_TCP, TCP_MAXSEG, 1000);
    set(*sender, SOL_SOCKET, SO_REUSEADDR, 1);
    set(*sender, SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20);
    REQUIRE((::connect(*sender, where, size) == 0 || errno == EINPROGRESS));
    receiver = UniqueFd(::accept(*listener, nullptr, nullptr));
    REQUIRE(receiver);
  }
  int arrived() const {
    int bytes = 0;
    REQUIRE(::ioctl(*receiver, FIONREAD, &bytes) == 0);
    return bytes;
  }
  UniqueFd sender, receiver;
};

UniqueFd duplicate(int fd) { return UniqueFd(::dup(fd)); }

// As home does: nothing comes for it any more.
void hear_nothing(int socket) {
  sock_filter drop{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program{1, &drop};
  REQUIRE(::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
}

}  // namespace

TEST_CASE("held sender: what was not sent is not sent any more, and is when it is let go") {
  const Connection c;
  constexpr int kBytes = 200'000;
  set(*c.sender, SOL_SOCKET, SO_MAX_PACING_RATE, 100'000);
  const std::vector<char> data(kBytes, 'x');
  REQUIRE(::write(*c.sender, data.data(), data.size()) == kBytes);
  std::this_thread::sleep_for(300ms);
  const int before = c.arrived();
  CHECK(before > 0);
  CHECK(before < kBytes);

  hear_nothing(*c.sender);
  const auto held = HeldSender::hold(duplicate(*c.sender)).value();
  REQUIRE(held);
  CHECK(held->window_bytes() > 0);
  std::this_thread::sleep_for(50ms);  // what was on its way
  const int then = c.arrived();
  std::this_thread::sleep_for(300ms);
  CHECK(c.arrived() == then);

  int reuse = 0;
  socklen_t size = sizeof reuse;
  CHECK(::getsockopt(*c.sender, SOL_SOCKET, SO_REUSEADDR, &reuse, &size) == 0);
  CHECK(reuse == 1);
  REQUIRE(held->let_go().ok());
  set(*c.sender, SOL_SOCKET, SO_DETACH_FILTER, 0);
  set(*c.sender, SOL_SOCKET, SO_MAX_PACING_RATE, 1'000'000'000);
  set_timeout(*c.receiver, 20);
  std::vector<char> all(kBytes);
  CHECK(::recv(*c.receiver, all.data(), all.size(), MSG_WAITALL) == kBytes);
}

TEST_CASE("held sender: one that has sent all is left alone") {
  const Connection c;
  REQUIRE(::write(*c.sender, "x", 1) == 1);
  for (int i = 0; i < 500 && c.arrived() == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK_FALSE(HeldSender::hold(duplicate(*c.sender)).value());
}

TEST_CASE("held sender: what is no connection is an error") {
  CHECK_FALSE(HeldSender::hold(UniqueFd()).ok());
  CHECK_FALSE(HeldSender::hold(duplicate(STDERR_FILENO)).ok());
}

}  // namespace ssi::net
