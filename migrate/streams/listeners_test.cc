// A unix socket of a guest that listens, and whose clients are at home.
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "migrate/fds/unix_diag.h"
#include "migrate/streams/listener_home.h"
#include "migrate/streams/listener_target.h"
#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr StreamId kListener = 9;
constexpr int kTimeoutMs = 10'000;

bool is_root() { return ::geteuid() == 0; }

struct Name {
  sockaddr_un address{};
  socklen_t bytes = 0;
};
Name abstract(const std::string& name) {
  Name made;
  made.address.sun_family = AF_UNIX;
  std::memcpy(made.address.sun_path + 1, name.data(), name.size());
  made.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return made;
}
// backlog 0: it does not listen yet.
UniqueFd listen_at(const std::string& name, int backlog = 10, int type = SOCK_STREAM) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const Name at = abstract(name);
  REQUIRE(::bind(*fd, reinterpret_cast<const sockaddr*>(&at.address), at.bytes) == 0);
  if (backlog > 0) REQUIRE(::listen(*fd, backlog) == 0);
  return fd;
}
UniqueFd connect_to(const std::string& name, int type = SOCK_STREAM) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const Name at = abstract(name);
  if (::connect(*fd, reinterpret_cast<const sockaddr*>(&at.address), at.bytes) != 0) fd.reset();
  return fd;
}
UniqueFd accept_within(const UniqueFd& listener, int timeout_ms = kTimeoutMs) {
  if (!comes_within(*listener, POLLIN, timeout_ms)) return UniqueFd();
  return UniqueFd(::accept4(*listener, nullptr, nullptr, SOCK_CLOEXEC));
}

// An owner of the socket at home, until it is told to end.
struct Owner {
  pid_t pid = ::fork();
  UniqueFd handle;
  Owner() {
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
    handle = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  }
  ~Owner() { end(); }
  void end() {
    if (pid == 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
  UniqueFd duplicate() const { return UniqueFd(::fcntl(*handle, F_DUPFD_CLOEXEC, 0)); }
};

// Home has the name "door.home"; each guest listens at a name of its own, for all are in one
// network namespace here.
struct Home {
  Net net;
  ListenerHome listeners{net.home};
  Owner owner;
  std::string name;
  std::uint64_t generation = 0;

  explicit Home(std::string called, int backlog = 10, int type = SOCK_STREAM)
      : name(std::move(called)) {
    UniqueFd socket = listen_at(name, backlog, type);
    REQUIRE(listeners.export_socket(kListener, std::move(socket), owner.duplicate()).ok());
  }
  ~Home() {
    listeners.stop();
    net.home.stop();
    net.cut();
  }
  ListenerTarget::Dial dial() {
    return [this]() -> Result<std::unique_ptr<Channel>> {
      if (net.down) return Error("down");
      int pair[2];
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return Error::from_errno("pair");
      StreamChannel accepted = std::make_shared<SocketChannel>(UniqueFd(pair[1]));
      std::lock_guard lock(net.mutex);
      net.open.push_back(accepted);
      net.threads.emplace_back([this, accepted] { listeners.serve(accepted); });
      return std::unique_ptr<Channel>(new SocketChannel(UniqueFd(pair[0])));
    };
  }
};

struct Guest {
  Home& home;
  StreamTarget streams;
  ListenerTarget listeners{streams};
  std::string name;
  std::uint64_t generation;
  UniqueFd socket;

  Guest(Home& at, const std::string& called, int backlog = 10, int type = SOCK_STREAM)
      : home(at),
        name(called),
        generation(++at.generation),
        socket(listen_at(called, backlog, type)) {
    ListenerTarget::Attach attach;
    attach.id = kListener;
    attach.generation = generation;
    attach.dial = home.dial();
    attach.dial_stream = home.net.dial();
    attach.address = std::string(1, '\0') + name;
    attach.socket_type = type;
    attach.root = UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    attach.network = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    REQUIRE(listeners.attach(std::move(attach)).ok());
  }
  ~Guest() {
    listeners.stop();
    streams.stop();
  }
  void start() {
    struct stat st {};
    REQUIRE(::fstat(*socket, &st) == 0);
    REQUIRE(listeners.start(kListener, st.st_ino).ok());
  }
  void leave() { (void)listeners.close(kListener, generation).ok(); }
};

bool says(const UniqueFd& from, const UniqueFd& to, const std::string& text) {
  return write_all(*from, text) && read_exactly(*to, text.size()) == text;
}

}  // namespace

TEST_CASE("clients at home reach a guest that is away, in their own name") {
  if (!is_root()) return;
  Home home("listeners.home1");
  Guest guest(home, "listeners.guest1");
  UniqueFd early = connect_to(home.name);
  REQUIRE(early);
  REQUIRE(write_all(*early, "first"));
  CHECK(!accept_within(guest.socket, 50));  // the move is not decided
  guest.start();
  const UniqueFd first = accept_within(guest.socket);
  REQUIRE(first);
  CHECK(read_exactly(*first, 5) == "first");
  CHECK(fds::peer_identity(*first).uid == ::geteuid());
  CHECK(says(first, early, "answer"));
  const std::string much = pattern(3 << 20);
  std::thread writer([&] { write_all(*early, much); });
  CHECK(read_exactly(*first, much.size()) == much);
  writer.join();
  const UniqueFd late = connect_to(home.name);
  const UniqueFd second = accept_within(guest.socket);
  REQUIRE(second);
  CHECK(says(late, second, "x"));
  // Each end's end is the other's.
  early.reset();
  CHECK(read_to_end(*first).empty());
}

TEST_CASE("a guest that asks with each message who has sent it is told the client, not root") {
  if (!is_root()) return;
  Home home("listeners.home8");
  Guest guest(home, "listeners.guest8");
  guest.start();
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(2345) != 0 || ::setuid(1234) != 0) ::_exit(1);
    const UniqueFd client = connect_to(home.name);
    char byte = 0;
    if (::read(*client, &byte, 1) != 1 || ::write(*client, "x", 1) != 1) ::_exit(2);
    ::_exit(::read(*client, &byte, 1) == 0 ? 0 : 3);
  }
  UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  CHECK(fds::peer_identity(*accepted).uid == 1234);
  const int on = 1;
  REQUIRE(::setsockopt(*accepted, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  REQUIRE(::write(*accepted, "!", 1) == 1);
  REQUIRE(comes_within(*accepted, POLLIN, kTimeoutMs));
  char byte = 0;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  REQUIRE(::recvmsg(*accepted, &message, 0) == 1);
  ucred sender{};
  REQUIRE(CMSG_FIRSTHDR(&message) != nullptr);
  std::memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
  CHECK(sender.uid == 1234);
  CHECK(sender.gid == 2345);
  accepted.reset();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("what is over is forgotten at both sides, whoever has closed it first") {
  if (!is_root()) return;
  Home home("listeners.home10");
  Guest guest(home, "listeners.guest10");
  guest.start();
  for (int i = 0; i < 20; ++i) {
    UniqueFd client = connect_to(home.name);
    UniqueFd accepted = accept_within(guest.socket);
    REQUIRE(accepted);
    REQUIRE(says(client, accepted, "hello"));
    UniqueFd& first = i % 2 == 0 ? client : accepted;
    UniqueFd& second = i % 2 == 0 ? accepted : client;
    first.reset();
    CHECK(read_to_end(*second).empty());
  }
  for (int i = 0; i < 500 && home.net.home.size() + guest.streams.size() > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(home.net.home.size() == 0);
  CHECK(guest.streams.size() == 0);
}

TEST_CASE("a guest that says much and ends: its client hears all of it") {
  if (!is_root()) return;
  Home home("listeners.home11");
  Guest guest(home, "listeners.guest11");
  guest.start();
  const UniqueFd client = connect_to(home.name);
  UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  const std::string last = pattern(2 << 20);
  std::thread writer([&] {
    write_all(*accepted, last);
    accepted.reset();
    guest.socket.reset();
    guest.leave();  // as ssid does when its guest has ended
  });
  CHECK(read_to_end(*client) == last);
  writer.join();
}

TEST_CASE("it moves on: who was accepted stays with it, who was not is told of again") {
  if (!is_root()) return;
  Home home("listeners.home2");
  Guest first(home, "listeners.guest2");
  first.start();
  const UniqueFd old_client = connect_to(home.name);
  const UniqueFd accepted = accept_within(first.socket);
  REQUIRE(accepted);
  const UniqueFd waiting = connect_to(home.name);
  REQUIRE(write_all(*waiting, "patience"));
  REQUIRE(comes_within(*first.socket, POLLIN, kTimeoutMs));  // waits there to be accepted

  REQUIRE(first.listeners.pause(kListener, kTimeoutMs).ok());
  const auto has = first.listeners.accepted(kListener);
  REQUIRE(has.ok());
  REQUIRE(has->size() == 1);
  struct stat st {};
  REQUIRE(::fstat(*accepted, &st) == 0);
  CHECK(has->front().socket == st.st_ino);
  const UniqueFd meanwhile = connect_to(home.name);  // comes while it stands still
  REQUIRE(meanwhile);

  Guest second(home, "listeners.guest2b");
  second.start();
  first.leave();
  const UniqueFd patient = accept_within(second.socket);
  REQUIRE(patient);
  CHECK(read_exactly(*patient, 8) == "patience");
  const UniqueFd other = accept_within(second.socket);
  REQUIRE(other);
  CHECK(says(meanwhile, other, "y"));
  CHECK(!accept_within(second.socket, 100));  // the accepted one comes by its streams
}

TEST_CASE("a move that is called off: the clients that came meanwhile are its own") {
  if (!is_root()) return;
  Home home("listeners.home3");
  Guest guest(home, "listeners.guest3");
  guest.start();
  REQUIRE(connect_to(home.name));
  REQUIRE(accept_within(guest.socket));
  REQUIRE(guest.listeners.pause(kListener, kTimeoutMs).ok());
  const UniqueFd client = connect_to(home.name);
  CHECK(!accept_within(guest.socket, 50));
  REQUIRE(guest.listeners.resume(kListener).ok());
  const UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  CHECK(says(client, accepted, "z"));
}

TEST_CASE("home can't be reached: a move has to wait, clients come afterwards, once") {
  if (!is_root()) return;
  Home home("listeners.home4");
  Guest guest(home, "listeners.guest4");
  guest.start();
  const UniqueFd before = connect_to(home.name);
  const UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  REQUIRE(says(before, accepted, "well"));
  home.net.down = true;
  home.net.cut();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(guest.listeners.pause(kListener, 100).error().code() == ErrorCode::kTimeout);
  REQUIRE(guest.listeners.resume(kListener).ok());
  const UniqueFd client = connect_to(home.name);
  home.net.down = false;
  const UniqueFd late = accept_within(guest.socket);
  REQUIRE(late);
  CHECK(says(client, late, "later"));
  CHECK(says(before, accepted, "still there"));
  CHECK(!accept_within(guest.socket, 100));
}

TEST_CASE("a guest that does not listen any more: nor does its name at home") {
  if (!is_root()) return;
  Home home("listeners.home5");
  Guest guest(home, "listeners.guest5");
  guest.start();
  guest.socket.reset();
  const UniqueFd client = connect_to(home.name);
  CHECK(read_to_end(*client).empty());
  bool found = true;
  for (int i = 0; i < 500 && found; ++i) {
    found = static_cast<bool>(connect_to(home.name));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(!found);
}

TEST_CASE("it comes home and accepts by itself; who had been accepted for it still comes") {
  if (!is_root()) return;
  Home home("listeners.home6");
  Guest guest(home, "listeners.guest6", 0);
  guest.start();
  const UniqueFd one = connect_to(home.name), two = connect_to(home.name);
  REQUIRE(write_all(*two, "second"));
  REQUIRE(comes_within(*guest.socket, POLLIN, kTimeoutMs));
  REQUIRE(guest.listeners.pause(kListener, kTimeoutMs).ok());
  auto itself = home.listeners.duplicate(kListener);
  REQUIRE(itself.ok());
  // As the guest's own, beside home's name.
  Guest at_home(home, "listeners.guest6b");
  REQUIRE(home.listeners.hand_over(kListener).ok());
  at_home.start();
  guest.leave();
  // Those that had been accepted for it: both, or the second waits in home's queue.
  std::vector<UniqueFd> came;
  for (int i = 0; i < 2; ++i) {
    pollfd both[] = {{*at_home.socket, POLLIN, 0}, {**itself, POLLIN, 0}};
    REQUIRE(::poll(both, 2, kTimeoutMs) > 0);
    came.push_back(accept_within(both[0].revents != 0 ? at_home.socket : *itself));
  }
  CHECK((read_exactly(*came[0], 6) == "second" || read_exactly(*came[1], 6) == "second"));
  const UniqueFd direct = connect_to(home.name);
  CHECK(accept_within(*itself));
  // And away again.
  REQUIRE(home.listeners.export_socket(kListener, std::move(*itself), home.owner.duplicate()).ok());
  Guest again(home, "listeners.guest6c");
  again.start();
  const UniqueFd later = connect_to(home.name);
  CHECK(accept_within(again.socket));
}

TEST_CASE("when the last owner has ended, the name leads nowhere") {
  if (!is_root()) return;
  Home home("listeners.home7");
  Guest guest(home, "listeners.guest7");
  guest.start();
  const UniqueFd client = connect_to(home.name);
  const UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  home.owner.end();
  bool found = true;
  for (int i = 0; i < 500 && found; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    found = static_cast<bool>(connect_to(home.name));
  }
  CHECK(!found);
  CHECK(home.listeners.size() == 0);
}

TEST_CASE("clients of a socket for messages: each message is one") {
  if (!is_root()) return;
  Home home("listeners.home20", 10, SOCK_SEQPACKET);
  Guest guest(home, "listeners.guest20", 10, SOCK_SEQPACKET);
  guest.start();
  const UniqueFd client = connect_to(home.name, SOCK_SEQPACKET);
  const UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  for (const std::string message : {"one", "another", "the third"}) {
    REQUIRE(::send(*client, message.data(), message.size(), 0) > 0);
    REQUIRE(::send(*accepted, message.data(), message.size(), 0) > 0);
  }
  for (const std::string message : {"one", "another", "the third"}) {
    for (const UniqueFd* end : {&accepted, &client}) {
      char bytes[64];
      REQUIRE(comes_within(**end, POLLIN, kTimeoutMs));
      const ssize_t got = ::recv(**end, bytes, sizeof bytes, 0);
      CHECK(std::string(bytes, static_cast<std::size_t>(std::max<ssize_t>(got, 0))) == message);
    }
  }
}

TEST_CASE("a socket that begins to listen where the guest is") {
  if (!is_root()) return;
  Home home("listeners.home21", 0);
  Guest guest(home, "listeners.guest21", 0);
  guest.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK_FALSE(connect_to(home.name));  // as ever
  CHECK(guest.listeners.pause(kListener, kTimeoutMs).ok());
  CHECK(guest.listeners.resume(kListener).ok());
  REQUIRE(::listen(*guest.socket, 10) == 0);
  UniqueFd client;
  for (int i = 0; i < 1000 && !client; ++i) {
    client = connect_to(home.name);
    if (!client) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  REQUIRE(client);
  const UniqueFd accepted = accept_within(guest.socket);
  REQUIRE(accepted);
  CHECK(says(client, accepted, "x"));
}

TEST_CASE("a guest closes a socket on which it has never listened: its name is free at home") {
  if (!is_root()) return;
  Home home("listeners.home22", 0);
  Guest guest(home, "listeners.guest22", 0);
  guest.start();
  guest.socket.reset();
  bool is_free = false;
  for (int i = 0; i < 1000 && !is_free; ++i) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Name at = abstract(home.name);
    is_free = ::bind(*fd, reinterpret_cast<const sockaddr*>(&at.address), at.bytes) == 0;
    if (!is_free) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(is_free);
}
