// What a process has without a descriptor: timers, signals that wait, mutexes.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// A POSIX timer whose signal is handled on an alternate stack.
class TimerOnAltstack : public Kind {
 public:
  explicit TimerOnAltstack(const std::string&) {
    stack_begin_ = static_cast<char*>(std::malloc(kStackBytes));
    const stack_t stack{stack_begin_, 0, kStackBytes};
    expect(::sigaltstack(&stack, nullptr) == 0, "sigaltstack");
    struct sigaction action {};
    action.sa_handler = [](int) {
      char here;
      if (&here < stack_begin_ || &here >= stack_begin_ + kStackBytes) off_the_stack_ = 1;
      handled_ = handled_ + 1;
    };
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    expect(::sigaction(SIGRTMIN + 1, &action, nullptr) == 0, "sigaction");
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 1;
    expect(::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0, "timer_create");
    const itimerspec every{{0, 5'000'000}, {0, 5'000'000}};
    expect(::timer_settime(timer_, 0, &every, nullptr) == 0, "timer_settime");
  }
  void round(Number n) override {
    expect(off_the_stack_ == 0, "the handler ran on another stack");
    stack_t now{};
    expect(::sigaltstack(nullptr, &now) == 0 && now.ss_sp == stack_begin_, "another stack");
    if (handled_ != ticks_) last_ = n;
    ticks_ = handled_;
    expect(n - last_ < 5000, "the timer stands still");
  }

 private:
  static constexpr std::size_t kStackBytes = 64 << 10;
  inline static volatile sig_atomic_t handled_ = 0;
  inline static volatile sig_atomic_t off_the_stack_ = 0;
  inline static char* stack_begin_ = nullptr;
  timer_t timer_{};
  sig_atomic_t ticks_ = 0;
  Number last_ = 0;
};

// Two of a kind wait in the queue from the beginning to the end, with what was sent along.
class PendingSignals : public Kind {
 public:
  explicit PendingSignals(const std::string&) {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGRTMIN + 3);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    for (const int value : {77, 78}) {
      sigval sent{};
      sent.sival_int = value;
      expect(::sigqueue(::getpid(), SIGRTMIN + 3, sent) == 0, "sigqueue");
    }
  }
  void round(Number) override {
    sigset_t pending;
    expect(::sigpending(&pending) == 0 && ::sigismember(&pending, SIGRTMIN + 3) == 1,
           "no signal is pending");
  }
  void end(Number) override {
    for (const int value : {77, 78}) {
      siginfo_t info{};
      const timespec now{};
      expect(::sigtimedwait(&set_, &info, &now) == SIGRTMIN + 3 && info.si_value.sival_int == value,
             "another signal, or none");
    }
    siginfo_t info{};
    const timespec now{};
    expect(::sigtimedwait(&set_, &info, &now) < 0, "a signal came twice");
  }

 private:
  sigset_t set_{};
};

// A thread ends without unlocking; the next one is told.
class RobustFutex : public Kind {
 public:
  explicit RobustFutex(const std::string&) {
    pthread_mutexattr_t robust;
    ::pthread_mutexattr_init(&robust);
    ::pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&mutex_, &robust);
    sigset_t all, before;  // it is not to run the handlers of others, from its first moment on
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before);
    owner_ = std::thread([this] {
      ::pthread_mutex_lock(&mutex_);
      locked_ = true;
      while (!leave_) ::usleep(1000);
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    while (!locked_) ::usleep(1000);
  }
  void round(Number n) override {
    if (n % 32 == 0) expect(::pthread_mutex_trylock(&mutex_) == EBUSY, "it is not locked");
  }
  void end(Number) override {
    leave_ = true;
    owner_.join();
    expect(::pthread_mutex_lock(&mutex_) == EOWNERDEAD, "nobody told that the owner is dead");
  }

 private:
  pthread_mutex_t mutex_;
  std::thread owner_;
  volatile bool locked_ = false, leave_ = false;
};

}  // namespace

void add_process_kinds(Makers& makers) {
  makers["timer-on-altstack"] = make<TimerOnAltstack>();
  makers["pending-signals"] = make<PendingSignals>();
  makers["robust-futex"] = make<RobustFutex>();
}

}  // namespace fds_probe
