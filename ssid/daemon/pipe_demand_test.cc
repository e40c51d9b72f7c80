#include "ssid/daemon/pipe_demand.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "migrate/move/stream_key.h"
#include "ssid/base/unique_fd.h"

using namespace ssi;

namespace {

// A child that waits for the pipe in its own way.
struct Waiter {
  explicit Waiter(void (*wait_for)(int fd)) {
    REQUIRE(::pipe(fds) == 0);
    pid = ::fork();
    if (pid == 0) {
      wait_for(fds[0]);
      ::pause();
    }
    struct stat st;
    REQUIRE(::fstat(fds[0], &st) == 0);
    key = migrate::stream_key(st);
  }
  ~Waiter() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    ::close(fds[0]);
    ::close(fds[1]);
  }
  // 0 if it does not wait within the time.
  std::uint64_t wanted(int tries = 500) const {
    for (int i = 0; i < tries; ++i) {
      if (const auto wish = pipe_wish(pid, key); wish.bytes != 0) return wish.bytes;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return 0;
  }
  int fds[2] = {-1, -1};
  pid_t pid = -1;
  std::string key;
};

}  // namespace

TEST_CASE("a blocked call is read as the kernel writes it") {
  const auto call = parse_blocked_call("0 0x3 0x7ffd12345678 0x1000 0x0 0x0 0x0 0x7ff 0x7fe");
  REQUIRE(call);
  CHECK(call->number == 0);
  CHECK(call->arguments[0] == 3);
  CHECK(call->arguments[2] == 4096);
  CHECK_FALSE(parse_blocked_call("running"));
  CHECK_FALSE(parse_blocked_call("-1 0x7ff 0x7fe"));
  CHECK_FALSE(parse_blocked_call("0 0x3 0x7f"));
  CHECK_FALSE(parse_blocked_call(""));
}

TEST_CASE("who waits for a pipe is seen, in whatever way it waits") {
  CHECK(Waiter([](int fd) {
          char bytes[123];
          (void)!::read(fd, bytes, sizeof bytes);
        }).wanted() == 123);
  CHECK(Waiter([](int fd) {
          pollfd p[2] = {{.fd = -1, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
          ::poll(p, 2, -1);
        }).wanted() > 0);
  CHECK(Waiter([](int fd) {
          fd_set set;
          FD_ZERO(&set);
          FD_SET(fd, &set);
          ::select(fd + 1, &set, nullptr, nullptr, nullptr);
        }).wanted() > 0);
  CHECK(Waiter([](int fd) {
          const int epoll = ::epoll_create1(0);
          epoll_event event{.events = EPOLLIN, .data = {}};
          ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
          ::epoll_wait(epoll, &event, 1, -1);
        }).wanted() > 0);
}

TEST_CASE("who waits for its terminal under the name /dev/tty is seen") {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(master);
  REQUIRE(::unlockpt(*master) == 0);
  const std::string name = ::ptsname(*master);
  const UniqueFd terminal(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  struct stat st;
  REQUIRE(::fstat(*terminal, &st) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    char c;
    if (::ioctl(*terminal, TIOCSCTTY, 0) != 0) ::_exit(1);
    (void)!::read(::open("/dev/tty", O_RDWR), &c, 1);
    ::_exit(0);
  }
  std::uint64_t wanted = 0;
  for (int i = 0; i < 500 && wanted == 0; ++i) {
    wanted = pipe_wish(pid, migrate::stream_key(st)).bytes;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(wanted == 1);
  CHECK(pipe_wish(pid, "tty[1:2]").bytes == 0);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST_CASE("who waits for something else is not taken for a reader") {
  CHECK(Waiter([](int) { ::pause(); }).wanted(50) == 0);
  CHECK(Waiter([](int) {
          int other[2];
          char byte = 0;
          if (::pipe(other) == 0) (void)!::read(other[0], &byte, 1);
        }).wanted(50) == 0);
  CHECK(pipe_wish(999999999, "pipe:[1]").bytes == 0);
}
