#include "migrate/fds/pty_queues.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <functional>
#include <string>

namespace ssi::fds {
namespace {

struct Pair {
  UniqueFd master, slave;
};

Pair pair(const std::function<void(termios&)>& set) {
  Pair p;
  p.master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  int unlocked = 0;
  REQUIRE(::ioctl(*p.master, TIOCSPTLCK, &unlocked) == 0);
  p.slave = UniqueFd(::ioctl(*p.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  REQUIRE(p.slave);
  termios modes{};
  REQUIRE(::tcgetattr(*p.slave, &modes) == 0);
  set(modes);
  REQUIRE(::tcsetattr(*p.slave, TCSANOW, &modes) == 0);
  return p;
}

void nothing(termios&) {}
void raw(termios& modes) { ::cfmakeraw(&modes); }

StillPty hold(const Pair& p, bool slave_open = true) {
  auto held = StillPty::hold(UniqueFd(::fcntl(*p.master, F_DUPFD_CLOEXEC, 0)), slave_open);
  REQUIRE(held.ok());
  return std::move(*held);
}

void write_to(int fd, const std::string& text) {
  REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

// What there is, or comes within some milliseconds; "-" if nothing does.
std::string read_from(int fd) {
  pollfd polled{fd, POLLIN, 0};
  if (::poll(&polled, 1, 50) <= 0 || (polled.revents & POLLIN) == 0) return "-";
  char bytes[16384];
  const ssize_t n = ::read(fd, bytes, sizeof bytes);
  return n < 0 ? "-" : std::string(bytes, static_cast<std::size_t>(n));
}

std::string read_all(int fd) {
  std::string all;
  for (std::string some; (some = read_from(fd)) != "-";) all += some;
  return all;
}

// From one terminal to another with the same settings, as a move does it.
void carry(const Pair& from, const Pair& to) {
  PtyQueues queues;
  REQUIRE(hold(from).take(queues).ok());
  CHECK(read_from(*from.slave) == "-");
  CHECK(read_from(*from.master) == "-");
  REQUIRE(hold(to).put(queues).ok());
}

}  // namespace

TEST_CASE(
    "lines, an end of file and what is being typed are carried, and nothing is echoed again") {
  const Pair from = pair(nothing), to = pair(nothing);
  write_to(*from.master, "one\ntwo");
  write_to(*from.master, "\004");  // ends "two"
  write_to(*from.master, "\004");  // an end of file by itself
  write_to(*from.master, "thr");
  const std::string echo = "one\r\ntwothr";
  while (::usleep(1000) == 0) {
    int there = 0;
    REQUIRE(::ioctl(*from.master, FIONREAD, &there) == 0);
    if (there >= static_cast<int>(echo.size())) break;
  }
  carry(from, to);
  CHECK(read_from(*to.slave) == "one\n");
  CHECK(read_from(*to.slave) == "two");
  CHECK(read_from(*to.slave) == "");
  CHECK(read_from(*to.slave) == "-");
  CHECK(read_all(*to.master) == echo);
  write_to(*to.master, "\177ree\n");  // what was typed can still be edited
  CHECK(read_from(*to.slave) == "three\n");
}

TEST_CASE("an end of file that is the last of the input") {
  const Pair from = pair(nothing), to = pair(nothing);
  write_to(*from.master, "x\004");
  ::usleep(20'000);
  carry(from, to);
  CHECK(read_from(*to.slave) == "x");
  CHECK(read_from(*to.slave) == "-");
}

TEST_CASE("bytes that are control characters elsewhere, of a raw terminal") {
  const Pair from = pair(raw), to = pair(raw);
  const std::string bytes("\003\004\021\r\n\177\xff\0x", 9);
  write_to(*from.master, bytes);
  write_to(*from.slave, "out\n");
  ::usleep(20'000);
  carry(from, to);
  CHECK(read_all(*to.slave) == bytes);
  CHECK(read_all(*to.master) == "out\n");
}

TEST_CASE("output goes through the line discipline once, with packets or without") {
  const Pair from = pair(nothing), to = pair(nothing);
  int packets = 1;
  for (const Pair* p : {&from, &to}) REQUIRE(::ioctl(*p->master, TIOCPKT, &packets) == 0);
  const std::string line(1000, 'x');
  for (int i = 0; i < 5; ++i) write_to(*from.slave, line + "\n");
  PtyQueues queues;
  REQUIRE(hold(from).take(queues).ok());
  CHECK(queues.output.size() == 5 * 1002);
  REQUIRE(hold(to).put(queues).ok());
  REQUIRE(::ioctl(*to.master, TIOCGPKT, &packets) == 0);
  CHECK(packets == 1);
  const std::string read = read_from(*to.master);
  CHECK(read.substr(0, 1) == std::string(1, '\0'));
  CHECK(read.substr(1, 1002) == line + "\r\n");
}

TEST_CASE("what is too much is told, and can be put back") {
  const Pair p = pair(raw);
  ::fcntl(*p.master, F_SETFL, O_RDWR | O_NONBLOCK);
  write_to(*p.master, std::string(4090, 'k'));
  ::usleep(20'000);
  PtyQueues queues;
  const auto taken = hold(p).take(queues);
  REQUIRE(!taken.ok());
  CHECK(taken.error().code() == ErrorCode::kBusy);
  CHECK(hold(p).put(queues).ok());
  CHECK(read_all(*p.slave).size() == 4090);
}

TEST_CASE("a terminal of which no slave was ever opened stays so, a closed one stays closed") {
  Pair p = pair(nothing);
  const UniqueFd fresh(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  auto held = StillPty::hold(UniqueFd(::fcntl(*fresh, F_DUPFD_CLOEXEC, 0)), false);
  REQUIRE(held.ok());
  CHECK(held->slave() == StillPty::Slave::kNone);
  pollfd polled{*fresh, POLLIN, 0};
  CHECK(::poll(&polled, 1, 0) == 0);

  write_to(*p.slave, "last words");
  p.slave.reset();
  PtyQueues queues;
  {
    const StillPty closed = hold(p, false);
    CHECK(closed.slave() == StillPty::Slave::kClosed);
    REQUIRE(closed.take(queues).ok());
    CHECK(queues.output == "last words");
    REQUIRE(closed.put(queues).ok());
  }
  CHECK(read_from(*p.master) == "last words");
  polled = {*p.master, POLLIN, 0};
  CHECK(::poll(&polled, 1, 50) == 1);
  CHECK((polled.revents & POLLHUP) != 0);
}

}  // namespace ssi::fds
