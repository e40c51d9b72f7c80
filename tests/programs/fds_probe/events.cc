// Descriptors that tell of events: eventfd, signalfd, timerfd, inotify, epoll.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

class Eventfd : public Kind {
 public:
  explicit Eventfd(const std::string&) : fd_(::eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void round(Number n) override {
    eventfd_t value = 0;
    expect(::eventfd_read(fd_, &value) == 0 && value == (n == 1 ? 7 : n), "another count");
    expect(::eventfd_write(fd_, n + 1) == 0, "write");
  }

 private:
  int fd_;
};

class Signalfd : public Kind {
 public:
  explicit Signalfd(const std::string&) {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  void round(Number) override {
    signalfd_siginfo info{};
    expect(::read(fd_, &info, sizeof info) < 0, "a signal that nobody sent");
    ::kill(::getpid(), SIGUSR2);
    expect(::read(fd_, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR2,
           "no signal");
  }

 private:
  int fd_;
};

// Every 5 ms; the time of a move may be left out, but it goes on.
class Timerfd : public Kind {
 public:
  explicit Timerfd(const std::string&)
      : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    const itimerspec every{{0, 5'000'000}, {0, 5'000'000}};
    expect(::timerfd_settime(fd_, 0, &every, nullptr) == 0, "set a timer");
  }
  void round(Number n) override {
    std::uint64_t expired = 0;
    if (::read(fd_, &expired, sizeof expired) == sizeof expired) last_ = n;
    expect(n - last_ < 5000, "the timer stands still");
  }

 private:
  int fd_;
  Number last_ = 0;
};

// An inotify instance that is there all the time, and watches a directory from the moment at which
// somebody makes "watch" until he makes "enough": what it hears is in "heard", a line each. It
// makes files there itself, too.
class Inotify : public Kind {
 public:
  explicit Inotify(const std::string& dir)
      : dir_(dir), fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    expect(fd_ >= 0 && ::mkdir((dir + "/watched").c_str(), 0755) == 0, "inotify_init1");
    heard_ = open_new(dir + "/heard", O_APPEND);
  }
  void round(Number n) override {
    if (watch_ < 0 && exists("watch") && !exists("enough")) {
      watch_ = ::inotify_add_watch(fd_, (dir_ + "/watched").c_str(),
                                   IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_ATTRIB);
      expect(watch_ > 0, "inotify_add_watch");
      ::close(open_new(dir_ + "/watching"));
    } else if (watch_ > 0 && exists("enough")) {
      expect(::inotify_rm_watch(fd_, watch_) == 0, "inotify_rm_watch");
      watch_ = -1;
    } else if (watch_ > 0 && n % 20 == 0) {
      const std::string own = dir_ + "/watched/own-" + std::to_string(n);
      ::close(open_new(own));
      expect(::unlink(own.c_str()) == 0, "unlink");
    }
    hear();
  }

 private:
  bool exists(const char* name) const { return ::access((dir_ + "/" + name).c_str(), F_OK) == 0; }
  void hear() {
    alignas(inotify_event) char buffer[4096];
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    expect(got > 0 || errno == EAGAIN, "read what happened");
    for (ssize_t at = 0; at < got;) {
      const auto* const event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      const std::string line = std::to_string(event->mask) + " " +
                               (event->len > 0 ? static_cast<const char*>(event->name) : "") + "\n";
      expect(::write(heard_, line.data(), line.size()) == static_cast<ssize_t>(line.size()),
             "tell what happened");
    }
  }

  const std::string dir_;
  int fd_, heard_ = -1, watch_ = -1;
};

class NestedEpoll : public Kind {
 public:
  explicit NestedEpoll(const std::string&)
      : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        inner_(::epoll_create1(EPOLL_CLOEXEC)),
        outer_(::epoll_create1(EPOLL_CLOEXEC)) {
    add(inner_, event_, 1);
    add(outer_, inner_, 2);
  }
  void round(Number) override {
    epoll_event found{};
    expect(::epoll_wait(outer_, &found, 1, 0) == 0, "something is ready that can't be");
    expect(::eventfd_write(event_, 1) == 0, "write");
    expect(::epoll_wait(outer_, &found, 1, 1000) == 1 && found.data.u64 == 2, "the outer one");
    expect(::epoll_wait(inner_, &found, 1, 0) == 1 && found.data.u64 == 1, "the inner one");
    eventfd_t value = 0;
    expect(::eventfd_read(event_, &value) == 0 && value == 1, "read");
  }

 private:
  static void add(int poll, int fd, std::uint64_t data) {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.u64 = data;
    expect(::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted) == 0, "epoll_ctl");
  }
  int event_, inner_, outer_;
};

}  // namespace

void add_event_kinds(Makers& makers) {
  makers["eventfd"] = make<Eventfd>();
  makers["signalfd"] = make<Signalfd>();
  makers["timerfd"] = make<Timerfd>();
  makers["inotify"] = make<Inotify>();
  makers["nested-epoll"] = make<NestedEpoll>();
}

}  // namespace fds_probe
