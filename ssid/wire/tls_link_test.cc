#include "ssid/wire/tls_link.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <thread>

#include "ssid/base/log.h"
#include "ssid/wire/link_server.h"
#include "ssid/wire/tcp.h"

namespace ssi {
namespace {

using ContextPtr = std::shared_ptr<const TlsContext>;
using LinkResult = Result<std::unique_ptr<TlsLink>>;

constexpr FrameLimit kLimits[] = {{.type = 1, .bytes_max = 1000},
                                  {.type = 2, .bytes_max = 8 << 20}};

ContextPtr context(std::uint32_t node, int key = 1) {
  const std::vector<std::byte> bytes(256, static_cast<std::byte>(key));
  auto made = TlsContext::from_key(bytes, NodeId{node});
  REQUIRE(made.ok());
  return *made;
}

TcpListener listener() {
  auto made = TcpListener::listen("127.0.0.1", 0);
  REQUIRE(made.ok());
  return std::move(*made);
}

// The two ends of an attempt: node 1 connects, node 2 accepts.
struct Attempt {
  LinkResult connected = Error("not tried");
  LinkResult accepted = Error("not tried");
};
Attempt attempt(const ContextPtr& connecting, const ContextPtr& accepting, LinkTimeouts timeouts) {
  TcpListener at = listener();
  Attempt both;
  std::thread server([&] {
    auto fd = at.accept(5000);
    if (fd) both.accepted = TlsLink::accept(accepting, std::move(*fd), timeouts);
  });
  both.connected = TlsLink::connect(connecting, "127.0.0.1", at.port(), timeouts);
  server.join();
  return both;
}

struct Pair {
  std::unique_ptr<TlsLink> a, b;
};
Pair pair(LinkTimeouts timeouts = {}) {
  auto both = attempt(context(1), context(2), timeouts);
  if (!both.connected) MESSAGE(both.connected.error().message());
  if (!both.accepted) MESSAGE(both.accepted.error().message());
  REQUIRE(both.connected.ok());
  REQUIRE(both.accepted.ok());
  return {std::move(*both.connected), std::move(*both.accepted)};
}

std::vector<std::byte> random_bytes(std::size_t n) {
  std::vector<std::byte> bytes(n);
  RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(n));
  return bytes;
}

// What a stranger gets to see: connects, sends, and collects what comes until the other side
// closes.
std::string stranger(const ContextPtr& accepting, std::string_view sends, LinkTimeouts timeouts,
                     Error* refusal) {
  TcpListener at = listener();
  std::thread server([&] {
    auto fd = at.accept(5000);
    auto link = TlsLink::accept(accepting, std::move(*fd), timeouts);
    *refusal = link.ok() ? Error("accepted!") : link.error();
  });
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(at.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(*fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  if (!sends.empty()) (void)!::send(*fd, sends.data(), sends.size(), MSG_NOSIGNAL);
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = ::read(*fd, buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<std::size_t>(n));
  server.join();
  return answer;
}

std::int64_t now_ms() { return SystemClock().now_ms(); }

}  // namespace

TEST_CASE("two nodes with the key know each other and exchange frames both ways") {
  Pair link = pair();
  CHECK(link.a->peer() == NodeId{2});
  CHECK(link.b->peer() == NodeId{1});
  CHECK(link.b->name().starts_with("node 1 at 127.0.0.1:"));
  REQUIRE(link.a->send_frame(1, bytes_of("hello")).ok());
  auto got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(got.ok());
  CHECK(got->type == 1);
  CHECK(text_of(got->payload) == "hello");
  const auto big = random_bytes(5'000'001);
  std::thread sender([&] { CHECK(link.b->send_frame(2, big).ok()); });
  got = link.a->recv_frame(kLimits, 1000);
  sender.join();
  REQUIRE(got.ok());
  CHECK(got->payload == big);
  REQUIRE(link.a->send_frame(1, {}).ok());
  got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(got.ok());
  CHECK(got->payload.empty());
}

TEST_CASE(
    "both directions carry bulk at the same time, with several writers and many key changes") {
  Pair link = pair();
  link.a->set_rekey_records(40);
  link.b->set_rekey_records(33);
  constexpr int kFrames = 40;
  const auto bulk = random_bytes(300'000);
  auto write = [&](TlsLink& on, int count) {
    for (int i = 0; i < count; ++i) CHECK(on.send_frame(2, bulk).ok());
  };
  auto read = [&](TlsLink& on) {
    for (int i = 0; i < kFrames; ++i) {
      auto frame = on.recv_frame(kLimits, 10'000);
      CHECK(frame.ok());
      if (!frame) return;
      CHECK(frame->payload == bulk);
    }
  };
  std::thread a1([&] { write(*link.a, kFrames / 2); });
  std::thread a2([&] { write(*link.a, kFrames / 2); });
  std::thread b1([&] { write(*link.b, kFrames / 2); });
  std::thread b2([&] { write(*link.b, kFrames / 2); });
  std::thread ra([&] { read(*link.a); });
  read(*link.b);
  for (auto* t : {&a1, &a2, &b1, &b2, &ra}) t->join();
}

TEST_CASE("pieces arrive as one stream whatever their sizes") {
  Pair link = pair();
  const auto x = random_bytes(20'000), y = random_bytes(3), z = random_bytes(600'000);
  const std::span<const std::byte> pieces[] = {x, {}, y, z};
  std::thread sender([&] {
    CHECK(link.a->write_v(pieces).ok());
    CHECK(link.a->write_all({}).ok());
  });
  std::vector<std::byte> got(x.size() + y.size() + z.size());
  REQUIRE(link.b->read_exact(got).ok());
  sender.join();
  std::vector<std::byte> sent(x);
  sent.insert(sent.end(), y.begin(), y.end());
  sent.insert(sent.end(), z.begin(), z.end());
  CHECK(got == sent);
}

TEST_CASE("another key is no key, on both sides") {
  auto both = attempt(context(1, 5), context(2, 6), {});
  CHECK(!both.connected.ok());
  REQUIRE(!both.accepted.ok());
  CHECK(both.accepted.error().message().find("handshake") != std::string::npos);
}

TEST_CASE("strangers are closed without a byte") {
  Error refusal("");
  CHECK(stranger(context(2), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", {}, &refusal).empty());
  CHECK(refusal.message() != "accepted!");
  // A header that promises a record and keeps silent after it.
  CHECK(stranger(context(2), std::string_view("\x16\x03\x01\x40\x00", 5), {.handshake_ms = 100},
                 &refusal)
            .empty());
  CHECK(refusal.code() == ErrorCode::kTimeout);
  const auto noise = random_bytes(100'000);
  CHECK(stranger(context(2), text_of(noise), {}, &refusal).empty());
  CHECK(refusal.message() != "accepted!");
  CHECK(stranger(context(2), "", {.handshake_ms = 100}, &refusal).empty());
  CHECK(refusal.code() == ErrorCode::kTimeout);
}

TEST_CASE("a handshake that trickles in is cut off at its time limit") {
  TcpListener at = listener();
  Error refusal("");
  std::int64_t took_ms = 0;
  std::atomic<bool> done{false};
  std::thread server([&] {
    auto fd = at.accept(5000);
    const std::int64_t begin = now_ms();
    auto link = TlsLink::accept(context(2), std::move(*fd), {.handshake_ms = 300});
    took_ms = now_ms() - begin;
    refusal = link.ok() ? Error("accepted!") : link.error();
    done = true;
  });
  auto fd = tcp_connect("127.0.0.1", at.port(), {});
  REQUIRE(fd.ok());
  // The beginning of a long ClientHello, a byte each few milliseconds.
  const std::string_view begin("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  for (std::size_t i = 0; !done && i < 2000; ++i) {
    const char byte = i < begin.size() ? begin[i] : 'x';
    (void)!::send(**fd, &byte, 1, MSG_NOSIGNAL);
    ::poll(nullptr, 0, 5);
  }
  server.join();
  CHECK(refusal.code() == ErrorCode::kTimeout);
  CHECK(took_ms < 2000);
}

TEST_CASE("a silent server does not hold a connecting node") {
  TcpListener at = listener();  // the kernel accepts, nobody answers
  const std::int64_t begin = now_ms();
  auto link = TlsLink::connect(context(1), "127.0.0.1", at.port(), {.handshake_ms = 150});
  REQUIRE(!link.ok());
  CHECK(link.error().code() == ErrorCode::kTimeout);
  CHECK(now_ms() - begin < 2000);
}

TEST_CASE("connecting to nobody says who it was") {
  std::uint16_t port = 0;
  { port = listener().port(); }
  auto link = TlsLink::connect(context(1), "127.0.0.1", port, {});
  REQUIRE(!link.ok());
  CHECK(link.error().message() ==
        "127.0.0.1:" + std::to_string(port) + ": connect: Connection refused");
}

TEST_CASE("an oversized or unexpected frame is refused and ends the link") {
  Pair link = pair();
  REQUIRE(link.a->send_frame(1, random_bytes(1001)).ok());
  auto got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(!got.ok());
  CHECK(got.error().message().find("1001 bytes") != std::string::npos);
  CHECK(!link.b->recv_frame(kLimits, 1000).ok());
  CHECK(!link.b->send_frame(1, {}).ok());
}

TEST_CASE("a peer that closes is gone, one that vanishes inside a frame too") {
  Pair link = pair();
  link.a.reset();
  auto got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(!got.ok());
  CHECK(got.error().code() == ErrorCode::kGone);
  CHECK(got.error().message() == "the peer closed the link");

  link = pair();
  REQUIRE(link.a->write_all(serialise_frame_header({.type = 1, .length = 50})).ok());
  link.a->abort();  // no goodbye
  link.a.reset();
  got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(!got.ok());
  CHECK(got.error().code() == ErrorCode::kGone);
}

TEST_CASE("silence between frames leaves the link good, silence inside one ends it") {
  Pair link = pair({.stall_ms = 100});
  auto got = link.b->recv_frame(kLimits, 50);
  REQUIRE(!got.ok());
  CHECK(got.error().code() == ErrorCode::kTimeout);
  REQUIRE(link.a->send_frame(1, bytes_of("late")).ok());
  got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(got.ok());
  REQUIRE(link.a->write_all(serialise_frame_header({.type = 1, .length = 50})).ok());
  got = link.b->recv_frame(kLimits, 1000);
  REQUIRE(!got.ok());
  CHECK(got.error().code() == ErrorCode::kTimeout);
  CHECK(!link.b->send_frame(1, {}).ok());
}

TEST_CASE("a peer that reads nothing does not hold a writer for ever") {
  Pair link = pair({.stall_ms = 200});
  const auto bulk = random_bytes(1 << 20);
  Result<> sent;
  for (int i = 0; i < 100 && sent.ok(); ++i) sent = link.a->write_all(bulk);
  REQUIRE(!sent.ok());
  CHECK(sent.error().code() == ErrorCode::kTimeout);
}

TEST_CASE("abort wakes a reader and a writer, and both say so") {
  Pair link = pair();
  std::thread reader([&] {
    auto got = link.a->recv_frame(kLimits, 0);
    CHECK(!got.ok());
    if (!got) CHECK(got.error().message() == "aborted");
  });
  std::thread writer([&] {
    const auto bulk = random_bytes(1 << 20);
    Result<> sent;
    while (sent.ok()) sent = link.a->write_all(bulk);
    CHECK(sent.error().message() == "aborted");
  });
  ::poll(nullptr, 0, 20);  // either is caught inside its call, or will be refused at the next
  link.a->abort();
  reader.join();
  writer.join();
  CHECK(!link.a->send_frame(1, {}).ok());
}

TEST_CASE("changed bytes on the way are noticed") {
  // A man in the middle, who turns one bit of what comes from the client after the handshake.
  TcpListener front = listener(), back = listener();
  std::thread middle([&] {
    auto left = front.accept(5000);
    auto right = tcp_connect("127.0.0.1", back.port(), {});
    CHECK((left.ok() && right.ok()));
    if (!left || !right) return;
    int from_client = 0;
    char buffer[65536];
    for (;;) {
      pollfd p[2] = {{.fd = **left, .events = POLLIN, .revents = 0},
                     {.fd = **right, .events = POLLIN, .revents = 0}};
      if (::poll(p, 2, 5000) <= 0) return;
      for (int i = 0; i < 2; ++i) {
        if (p[i].revents == 0) continue;
        const ssize_t n = ::recv(p[i].fd, buffer, sizeof(buffer), 0);
        if (n <= 0) return;
        if (i == 0 && ++from_client == 3) buffer[n - 1] ^= 1;
        (void)!::send(p[1 - i].fd, buffer, static_cast<std::size_t>(n), MSG_NOSIGNAL);
      }
    }
  });
  std::thread server([&] {
    auto fd = back.accept(5000);
    auto link = TlsLink::accept(context(2), std::move(*fd), {});
    CHECK(link.ok());
    if (!link) return;
    auto got = (*link)->recv_frame(kLimits, 5000);
    CHECK(!got.ok());
    if (!got) CHECK(got.error().code() == ErrorCode::kFailed);
  });
  auto link = TlsLink::connect(context(1), "127.0.0.1", front.port(), {});
  REQUIRE(link.ok());
  CHECK((*link)->send_frame(1, bytes_of("pay 10")).ok());
  server.join();
  link = Error("closed");
  middle.join();
}

TEST_CASE("a short key, a key that others can read, and a bad identity are refused") {
  CHECK(!TlsContext::from_key(std::vector<std::byte>(31), NodeId{1}).ok());
  CHECK(!TlsContext::from_key(std::vector<std::byte>(32), NodeId{0}).ok());
  std::string path = "/tmp/ssid-key-XXXXXX";
  UniqueFd fd(::mkstemp(path.data()));
  REQUIRE(::write(*fd, std::string(128, 'k').data(), 128) == 128);
  CHECK(read_cluster_key(path).value().size() == 128);
  ::fchmod(*fd, 0640);
  CHECK(!read_cluster_key(path).ok());
  ::unlink(path.c_str());
  CHECK(!read_cluster_key(path).ok());
  CHECK(parse_psk_identity(psk_identity(NodeId{17})).value() == NodeId{17});
  for (const char* bad : {"", "ssid-1:", "ssid-1:0", "ssid-1:x", "ssid-2:1", "ssid-1:1 ",
                          "ssid-1:01", "ssid-1:99999999999"})
    CHECK(!parse_psk_identity(bad).ok());
}

TEST_CASE("a link server serves those with the key and logs few lines about the others") {
  std::mutex mutex;
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) {
    std::lock_guard lock(mutex);
    lines.emplace_back(line);
  });
  {
    auto server = LinkServer::start(context(2), "127.0.0.1", 0, {.timeouts = {.handshake_ms = 500}},
                                    [](std::unique_ptr<TlsLink> link) {
                                      auto got = link->recv_frame(kLimits, 5000);
                                      if (got) (void)link->send_frame(got->type, got->payload);
                                    });
    REQUIRE(server.ok());
    const std::uint16_t port = (*server)->port();
    for (int i = 0; i < 10; ++i) {
      auto fd = tcp_connect("127.0.0.1", port, {});
      REQUIRE(fd.ok());
      (void)!::send(**fd, "garbage garbage", 15, MSG_NOSIGNAL);
    }
    for (int i = 0; i < 3; ++i) {
      auto link = TlsLink::connect(context(1), "127.0.0.1", port, {});
      REQUIRE(link.ok());
      REQUIRE((*link)->send_frame(1, bytes_of("echo")).ok());
      auto got = (*link)->recv_frame(kLimits, 5000);
      REQUIRE(got.ok());
      CHECK(text_of(got->payload) == "echo");
    }
  }
  set_log_sink({});
  CHECK(lines.size() == 3);
  for (const auto& line : lines) CHECK(line.starts_with("link refused: 127.0.0.1:"));
}

TEST_CASE("a rate limit lets a burst through each period and counts the rest") {
  RateLimit limit(2, 1000);
  std::int64_t suppressed = -1;
  CHECK(limit.allow(5000, suppressed));
  CHECK(suppressed == 0);
  CHECK(limit.allow(5001, suppressed));
  for (int i = 0; i < 7; ++i) CHECK(!limit.allow(5002, suppressed));
  CHECK(limit.allow(6000, suppressed));
  CHECK(suppressed == 7);
}

}  // namespace ssi
