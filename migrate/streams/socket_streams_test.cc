// A unix socket of a guest whose other end stays at home.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "migrate/streams/test_net.h"
#include "ssid/base/proc_status.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr StreamId kOut = 1, kIn = 2;  // seen from the guest

// The process at the other end, and home, which has the guest's own socket.
struct Home {
  Net net;
  UniqueFd peer;
  std::uint64_t generation = 0;

  Home() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    peer = UniqueFd(pair[0]);
    UniqueFd guests(pair[1]);
    UniqueFd second(::fcntl(*guests, F_DUPFD_CLOEXEC, 0));
    REQUIRE(net.home.export_fd(kOut, StreamDirection::kGuestWrites, std::move(guests)).ok());
    REQUIRE(net.home.export_fd(kIn, StreamDirection::kGuestReads, std::move(second)).ok());
  }
};

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(*fd, F_DUPFD_CLOEXEC, 0)); }

// A guest on a node: what it has in place of its socket.
struct Guest {
  Home& home;
  StreamTarget& node;
  std::uint64_t generation;
  UniqueFd fd;

  Guest(Home& at_home, StreamTarget& where)
      : home(at_home), node(where), generation(++at_home.generation) {
    const UniqueFd network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    for (const StreamId id : {kOut, kIn}) {
      const auto direction =
          id == kOut ? StreamDirection::kGuestWrites : StreamDirection::kGuestReads;
      StreamTarget::Attach attach{id, generation, direction, 0, home.net.dial()};
      attach.socket = kOut;
      attach.network = duplicate(network);
      auto end = node.attach(std::move(attach));
      REQUIRE(end.ok());
      fd = std::move(*end);  // the same for both
    }
  }
  void start() {
    REQUIRE(node.start(kOut).ok());
    REQUIRE(node.start(kIn).ok());
  }
  void drain() {
    REQUIRE(node.drain(kOut, 10000).ok());
    REQUIRE(node.drain(kIn, 10000).ok());
  }
  void resume() {
    REQUIRE(node.resume(kOut).ok());
    REQUIRE(node.resume(kIn).ok());
  }
  // It has gone on to another node.
  void leave() {
    for (const StreamId id : {kOut, kIn}) (void)node.close(id, generation).ok();
    fd.reset();
  }
};

std::string read_all(int fd) { return read_to_end(fd); }

bool breaks(int fd) {
  // What was on its way when the other end went is not told any more.
  for (int i = 0; i < 1000; ++i) {
    if (::send(fd, "x", 1, MSG_NOSIGNAL) < 0) return errno == EPIPE;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

bool is_root() { return ::geteuid() == 0; }

}  // namespace

TEST_CASE("what a guest and a process at home say to each other, over lost connections") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  const std::string out = pattern(3 << 20, 1), in = pattern(3 << 20, 2);
  std::thread cutter([&] {
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      home.net.cut();
    }
  });
  std::thread guest_writes([&] { CHECK(write_all(*guest.fd, out)); });
  std::thread peer_writes([&] { CHECK(write_all(*home.peer, in)); });
  std::string got_in;
  std::thread guest_reads([&] { got_in = read_exactly(*guest.fd, in.size()); });
  CHECK((read_exactly(*home.peer, out.size()) == out));
  for (std::thread* t : {&cutter, &guest_writes, &peer_writes, &guest_reads}) t->join();
  CHECK((got_in == in));
}

TEST_CASE("one direction is shut, the other goes on") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  SUBCASE("by the guest") {
    REQUIRE(write_all(*guest.fd, "the last word"));
    REQUIRE(::shutdown(*guest.fd, SHUT_WR) == 0);
    CHECK(read_all(*home.peer) == "the last word");
    REQUIRE(write_all(*home.peer, "heard"));
    CHECK(read_exactly(*guest.fd, 5) == "heard");
  }
  SUBCASE("by the other") {
    REQUIRE(write_all(*home.peer, "the last word"));
    REQUIRE(::shutdown(*home.peer, SHUT_WR) == 0);
    CHECK(read_all(*guest.fd) == "the last word");
    REQUIRE(write_all(*guest.fd, "heard"));
    CHECK(read_exactly(*home.peer, 5) == "heard");
  }
}

TEST_CASE("the other end is closed") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  SUBCASE("at home") {
    REQUIRE(write_all(*home.peer, "farewell"));
    home.peer.reset();
    CHECK(read_all(*guest.fd) == "farewell");
    CHECK(breaks(*guest.fd));
  }
  SUBCASE("by the guest") {
    REQUIRE(write_all(*guest.fd, "farewell"));
    guest.fd.reset();
    CHECK(read_all(*home.peer) == "farewell");
    CHECK(breaks(*home.peer));
  }
  SUBCASE("the guest has ended, and its home knows") {
    guest.fd.reset();
    (void)home.net.home.close(kOut, 1000).ok();
    (void)home.net.home.close(kIn, 1000).ok();
    CHECK(read_all(*home.peer).empty());
    CHECK(breaks(*home.peer));
  }
}

TEST_CASE("a writer waits for a reader who does not read") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  const std::string much(64 << 10, 'x');
  for (const int fd : {*guest.fd, *home.peer}) {
    std::size_t taken = 0;
    for (int idle = 0; idle < 50;) {
      const ssize_t put = ::send(fd, much.data(), much.size(), MSG_DONTWAIT);
      if (put > 0) taken += static_cast<std::size_t>(put);
      idle = put > 0 ? 0 : idle + 1;
      if (put <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    CHECK(taken < 4U << 20);
    const int other = fd == *guest.fd ? *home.peer : *guest.fd;
    CHECK((read_exactly(other, taken) == std::string(taken, 'x')));
    CHECK(write_all(fd, "on"));
    CHECK(read_exactly(other, 2) == "on");
  }
}

TEST_CASE("a guest moves on with what it has not read, or stays after all") {
  if (!is_root()) return;
  Home home;
  const std::string out = pattern(2 << 20, 1), in = pattern(2 << 20, 2);
  std::string got_out, got_in;
  std::thread peer_reads([&] { got_out = read_exactly(*home.peer, out.size()); });
  std::thread peer_writes([&] { CHECK(write_all(*home.peer, in)); });
  std::mt19937 random(4);
  std::vector<std::unique_ptr<StreamTarget>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<StreamTarget>());
  std::size_t at = 0;
  const auto work = [&](Guest& guest) {
    const std::size_t to_write = std::min<std::size_t>(out.size() - at, random() % 150000 + 1);
    const std::size_t to_read =
        std::min<std::size_t>(in.size() - got_in.size(), random() % 150000 + 1);
    std::thread writes(
        [&] { CHECK(write_all(*guest.fd, std::string_view(out).substr(at, to_write))); });
    const std::string piece = read_exactly(*guest.fd, to_read);
    writes.join();
    at += to_write;
    REQUIRE(piece.size() == to_read);
    got_in += piece;
  };
  for (int i = 0; at < out.size() || got_in.size() < in.size(); ++i) {
    Guest guest(home, *nodes[static_cast<std::size_t>(i) % 3]);
    guest.start();
    work(guest);
    if (i % 4 == 0) home.net.cut();
    if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    guest.drain();
    if (i % 3 == 0) {  // the move is called off
      guest.resume();
      work(guest);
      guest.drain();
    }
    guest.leave();
  }
  peer_reads.join();
  peer_writes.join();
  CHECK((got_out == out));
  CHECK((got_in == in));
}

TEST_CASE("a descriptor can't be sent over it: both see an end") {
  if (!is_root()) return;
  Home home;
  StreamTarget node;
  Guest guest(home, node);
  guest.start();
  int from = -1, to = -1;
  SUBCASE("by the guest") { from = *guest.fd, to = *home.peer; }
  SUBCASE("to it") { from = *home.peer, to = *guest.fd; }
  char byte = 'x';
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &from, sizeof from);
  REQUIRE(::sendmsg(from, &message, 0) == 1);
  CHECK(read_all(to).empty());
  CHECK(breaks(from));
}

TEST_CASE("who asks at home with each message who has sent it is told the guest, not root") {
  if (!is_root()) return;
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    CAPTURE(type);
    const pid_t deputy = ::fork();
    if (deputy == 0) {
      if (::setgid(2345) != 0 || ::setuid(1234) != 0) ::_exit(1);
      ::pause();
      ::_exit(0);
    }
    while (proc_status_line(deputy, "Uid").find("1234") == std::string::npos) ::usleep(1000);
    Net net;
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
    const UniqueFd peer(pair[0]);
    const int on = 1;
    REQUIRE(::setsockopt(*peer, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    UniqueFd owner(static_cast<int>(::syscall(SYS_pidfd_open, deputy, 0)));
    REQUIRE(
        net.home.export_fd(kOut, StreamDirection::kGuestWrites, UniqueFd(pair[1]), std::move(owner))
            .ok());
    StreamTarget node;
    StreamTarget::Attach attach{kOut, 1, StreamDirection::kGuestWrites, 0, net.dial()};
    attach.socket = kOut;
    attach.network = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    attach.socket_type = type;
    const auto guest = node.attach(std::move(attach));
    REQUIRE(guest.ok());
    REQUIRE(node.start(kOut).ok());
    REQUIRE(::send(**guest, "x", 1, 0) == 1);
    REQUIRE(comes_within(*peer, POLLIN, 10'000));
    char byte = 0;
    iovec bytes{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    REQUIRE(::recvmsg(*peer, &message, 0) == 1);
    REQUIRE(CMSG_FIRSTHDR(&message) != nullptr);
    ucred sender{};
    std::memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
    CHECK(sender.pid == deputy);
    CHECK(sender.uid == 1234);
    CHECK(sender.gid == 2345);
    net.home.stop();
    node.stop();
    ::kill(deputy, SIGKILL);
    ::waitpid(deputy, nullptr, 0);
  }
}
