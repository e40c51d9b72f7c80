#include "migrate/streams/terminal.h"

#include <asm/ioctls.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr StreamId kOut = 1, kIn = 2;

// The user's terminal: what an emulator would hold, and the side that programs have.
struct UserTerminal {
  UserTerminal() {
    master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    int unlocked = 0;
    REQUIRE(::ioctl(*master, TIOCSPTLCK, &unlocked) == 0);
    slave = UniqueFd(::ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(slave);
  }
  void type(const std::string& keys) {
    REQUIRE(::write(*master, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  UniqueFd master, slave;
};

bool readable(int fd, int timeout_ms = 5000) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, timeout_ms) > 0;
}
// One read, as a program would; "(nothing)" if there is none in time.
std::string read_once(int fd, int timeout_ms = 5000) {
  if (!readable(fd, timeout_ms)) return "(nothing)";
  char bytes[4096];
  const ssize_t got = ::read(fd, bytes, sizeof bytes);
  return got < 0 ? "(error)" : std::string(bytes, static_cast<std::size_t>(got));
}
std::string read_all(int fd, std::size_t size) {
  std::string all;
  while (all.size() < size && readable(fd)) all += read_once(fd);
  return all;
}
bool eventually(const std::function<bool()>& so) {
  for (int i = 0; i < 500 && !so(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return so();
}
tcflag_t local_modes(int fd) {
  termios modes{};
  REQUIRE(::tcgetattr(fd, &modes) == 0);
  return modes.c_lflag;
}

// A home whose terminal is relayed, and the guest's side of it.
struct Relay {
  UserTerminal user;
  Net net;
  StreamTarget target;
  UniqueFd guest;

  Relay() {
    for (const StreamId id : {kOut, kIn}) {
      UniqueFd owner(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
      UniqueFd fd = duplicate(user.slave);
      const auto direction =
          id == kOut ? StreamDirection::kGuestWrites : StreamDirection::kGuestReads;
      REQUIRE(net.home.export_fd(id, direction, std::move(fd), std::move(owner)).ok());
    }
    attach(target, 1);
  }
  void attach(StreamTarget& where, std::uint64_t generation) {
    for (const StreamId id : {kOut, kIn}) {
      StreamTarget::Attach what;
      what.id = id;
      what.generation = generation;
      what.direction = id == kOut ? StreamDirection::kGuestWrites : StreamDirection::kGuestReads;
      what.on_demand = id == kIn;
      what.terminal = kOut;
      what.dial = net.dial();
      auto end = where.attach(std::move(what));
      REQUIRE(end.ok());
      if (id == kOut) guest = std::move(*end);
    }
    for (const StreamId id : {kOut, kIn}) REQUIRE(where.start(id).ok());
  }
  void print(const std::string& text) {
    REQUIRE(::write(*guest, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  // The guest waits, and reads.
  std::string read_line(StreamTarget& where, int timeout_ms = 5000) {
    REQUIRE(where.demand(kIn, 4096).ok());
    return read_once(*guest, timeout_ms);
  }
};

}  // namespace

TEST_CASE("a pty of ours shows every change of its settings, and keeps its end-of-file character") {
  auto pty = make_external_pty();
  REQUIRE(pty.ok());
  auto device = guest_terminal(*pty->slave);
  char bytes[100];
  while (device->read(*pty->master, bytes, sizeof bytes) >= 0 || errno == EINTR) {
  }
  (void)device->state_changed();
  termios modes{};
  REQUIRE(::tcgetattr(*pty->slave, &modes) == 0);
  CHECK((modes.c_lflag & EXTPROC) != 0);
  modes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | EXTPROC);
  REQUIRE(::tcsetattr(*pty->slave, TCSANOW, &modes) == 0);
  CHECK(device->read(*pty->master, bytes, sizeof bytes) < 0);
  CHECK(device->state_changed());
  const auto state = device->state(*pty->master);
  REQUIRE(state);
  CHECK((state->local & (ICANON | ECHO | EXTPROC)) == 0);
  CHECK((local_modes(*pty->slave) & EXTPROC) != 0);
}

TEST_CASE("what the guest prints is shown once, as if it were here") {
  Relay relay;
  relay.print("one\ntwo\n");
  CHECK(read_all(*relay.user.master, 10) == "one\r\ntwo\r\n");
  const std::string much(100'000, 'x');
  std::thread printing([&] { relay.print(much + "\n"); });
  CHECK(read_all(*relay.user.master, much.size() + 2) == much + "\r\n");
  printing.join();
}

TEST_CASE("no newline is torn, however the output comes in pieces") {
  Relay relay;
  std::string printed, shown;
  for (int line = 1; line <= 20000; ++line) {
    printed += std::to_string(line) + "\n";
    shown += std::to_string(line) + "\r\n";
  }
  std::thread printing([&] { relay.print(printed); });
  CHECK(read_all(*relay.user.master, shown.size()) == shown);
  printing.join();
}

TEST_CASE("lines that are typed come one at a time, when the guest waits for them") {
  Relay relay;
  relay.user.type("first\nsecond\n");
  CHECK(read_all(*relay.user.master, 15) == "first\r\nsecond\r\n");  // the echo is home's
  CHECK_FALSE(readable(*relay.guest, 200));
  CHECK(relay.read_line(relay.target) == "first\n");
  CHECK_FALSE(readable(*relay.guest, 200));
  // The second line is still there for others.
  CHECK(read_once(*relay.user.slave) == "second\n");
}

TEST_CASE("editing is done at home, and Ctrl-D is the end of one read") {
  Relay relay;
  relay.user.type(
      "abx\x7f"
      "c\n");
  CHECK(relay.read_line(relay.target) == "abc\n");
  relay.user.type("\x04");
  CHECK(relay.read_line(relay.target) == "");
  relay.user.type("more\n");
  CHECK(relay.read_line(relay.target) == "more\n");
}

TEST_CASE("the guest's settings are the terminal's, before what it prints after them") {
  Relay relay;
  termios raw{};
  REQUIRE(::tcgetattr(*relay.guest, &raw) == 0);
  const termios cooked = raw;
  ::cfmakeraw(&raw);
  relay.print("before\n");
  REQUIRE(::tcsetattr(*relay.guest, TCSANOW, &raw) == 0);
  CHECK(eventually([&] { return (local_modes(*relay.user.slave) & (ICANON | ECHO)) == 0; }));
  CHECK((local_modes(*relay.user.slave) & EXTPROC) == 0);
  CHECK(read_all(*relay.user.master, 8) == "before\r\n");
  relay.user.type("k");
  CHECK(relay.read_line(relay.target) == "k");
  relay.print("a\nb");
  CHECK(read_all(*relay.user.master, 3) == "a\nb");
  REQUIRE(::tcsetattr(*relay.guest, TCSANOW, &cooked) == 0);
  CHECK(eventually([&] { return (local_modes(*relay.user.slave) & ICANON) != 0; }));
}

TEST_CASE("when the output is flushed the terminal is set, too, and the guest goes on") {
  Relay relay;
  termios modes{};
  for (int round = 0; round < 20; ++round) {
    REQUIRE(::tcgetattr(*relay.guest, &modes) == 0);
    modes.c_lflag ^= ICANON;
    if (round % 2 == 0) relay.print("a line\n");
    REQUIRE(::tcsetattr(*relay.guest, TCSANOW, &modes) == 0);
    REQUIRE(relay.target.flush(kOut, 5000).ok());
    CHECK((local_modes(*relay.user.slave) & ICANON) == (modes.c_lflag & ICANON));
    if (round % 2 == 0) CHECK(read_all(*relay.user.master, 8) == "a line\r\n");
  }
}

TEST_CASE("the size is home's, as soon as it is asked for") {
  Relay relay;
  const winsize size{50, 132, 0, 0};
  REQUIRE(::ioctl(*relay.user.master, TIOCSWINSZ, &size) == 0);
  REQUIRE(relay.target.refresh_terminal(kIn, 5000).ok());
  winsize seen{};
  REQUIRE(::ioctl(*relay.guest, TIOCGWINSZ, &seen) == 0);
  CHECK(seen.ws_row == 50);
  CHECK(seen.ws_col == 132);
}

TEST_CASE("a guest that moves on takes along what it has not read") {
  Relay relay;
  relay.user.type("unread\n");
  REQUIRE(relay.target.demand(kIn, 4096).ok());
  REQUIRE(readable(*relay.guest));
  for (const StreamId id : {kOut, kIn}) REQUIRE(relay.target.drain(id, 5000).ok());
  StreamTarget next;
  relay.attach(next, 2);
  CHECK(relay.read_line(next) == "unread\n");
  for (const StreamId id : {kOut, kIn}) REQUIRE(relay.target.close(id, 1).ok());
  relay.print("from the next node\n");
  const std::string shown = read_all(*relay.user.master, 28);
  CHECK(shown == "unread\r\nfrom the next node\r\n");
  next.stop();
}
