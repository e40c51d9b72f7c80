#include "migrate/deputy/stop_watcher.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "migrate/deputy/proc_text.h"
#include "migrate/deputy/remote_thread.h"
#include "ssid/base/check.h"
#include "ssid/base/unique_fd.h"

namespace ssi::deputy {
namespace {

constexpr int kWakeSignal = SIGURG;
constexpr auto kWakeInterval = std::chrono::milliseconds(2);

void on_wake(int) {}

void* as_pointer(int value) { return reinterpret_cast<void*>(static_cast<std::intptr_t>(value)); }

}  // namespace

class StopWatcher::Loop {
 public:
  enum class Verb { kWatch, kUnwatch, kQuit };

  Loop() : events_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    SSI_CHECK(static_cast<bool>(events_));
    struct sigaction old {};
    sigaction(kWakeSignal, nullptr, &old);
    if (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN) {
      struct sigaction action {};
      action.sa_handler = on_wake;  // no SA_RESTART: it is to interrupt waitpid
      sigaction(kWakeSignal, &action, nullptr);
    }
    thread_ = std::thread([this] { run(); });
  }

  ~Loop() {
    (void)command(Verb::kQuit, 0);
    thread_.join();
  }

  int event_fd() const { return *events_; }

  // A wake that comes just before the thread falls asleep is lost, so it is repeated until it was
  // heard.
  Result<> command(Verb verb, pid_t pid) {
    const std::lock_guard turn(turn_);
    std::unique_lock lock(mutex_);
    command_ = {verb, pid};
    answer_.reset();
    changed_.notify_all();
    while (!answer_) {
      pthread_kill(thread_.native_handle(), kWakeSignal);
      changed_.wait_for(lock, kWakeInterval);
    }
    return *std::exchange(answer_, std::nullopt);
  }

  std::vector<StopReport> take() {
    const std::lock_guard lock(mutex_);
    std::uint64_t count;
    (void)!::read(*events_, &count, sizeof count);
    return std::exchange(reports_, {});
  }

 private:
  struct Watched {
    bool stopped = false;
    bool leaving = false;
  };

  void run() {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, kWakeSignal);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    for (;;) {
      if (!obey()) return;
      int status = 0;
      const pid_t pid = waitpid(-1, &status, __WALL | __WNOTHREAD);
      if (pid > 0) {
        on_event(pid, status);
      } else if (errno == ECHILD) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return command_.has_value(); });
      }
    }
  }

  // False: quit. The kernel detaches what is still traced when the thread ends.
  bool obey() {
    std::unique_lock lock(mutex_);
    if (!command_) return true;
    const auto [verb, pid] = *std::exchange(command_, std::nullopt);
    lock.unlock();
    Result<> result;
    if (verb == Verb::kWatch) result = attach(pid);
    if (verb == Verb::kUnwatch) leave(pid);
    lock.lock();
    answer_ = std::move(result);
    changed_.notify_all();
    return verb != Verb::kQuit;
  }

  Result<> attach(pid_t pid) {
    if (watched_.contains(pid)) {
      watched_[pid].leaving = false;
      return {};
    }
    if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) {
      if (errno == EPERM) {
        return Error(ErrorCode::kRefused, "process " + std::to_string(pid) + " is traced already");
      }
      return Error::from_errno("watch process " + std::to_string(pid));
    }
    watched_[pid] = {};
    return {};
  }

  // Only a stopped tracee can be detached.
  void leave(pid_t pid) {
    const auto at = watched_.find(pid);
    if (at == watched_.end()) return;
    at->second.leaving = true;
    ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
  }

  void on_event(pid_t pid, int status) {
    const StopStatus stop = StopStatus::decode(status);
    Watched& watched = watched_[pid];
    if (stop.kind == StopStatus::Kind::kExited) {
      watched_.erase(pid);
      report({.pid = pid, .kind = StopReport::Kind::kGone});
      return;
    }
    const bool delivery = stop.kind == StopStatus::Kind::kSignal;
    const int signo = delivery ? stop.signo : 0;
    if (watched.leaving) {
      ptrace(PTRACE_DETACH, pid, nullptr, as_pointer(signo));
      watched_.erase(pid);
      return;
    }
    if (stop.kind == StopStatus::Kind::kGroupStop) {
      if (!watched.stopped) {
        report({.pid = pid, .kind = StopReport::Kind::kStopped, .signo = stop.signo});
      }
      watched.stopped = true;
      ptrace(PTRACE_LISTEN, pid, nullptr, nullptr);
      return;
    }
    if (watched.stopped) report({.pid = pid, .kind = StopReport::Kind::kContinued});
    watched.stopped = false;
    ptrace(PTRACE_CONT, pid, nullptr, as_pointer(signo));
  }

  void report(const StopReport& what) {
    const std::lock_guard lock(mutex_);
    reports_.push_back(what);
    const std::uint64_t one = 1;
    (void)!::write(*events_, &one, sizeof one);
  }

  UniqueFd events_;
  std::mutex turn_;   // one command at a time
  std::mutex mutex_;  // what follows, up to reports_
  std::condition_variable changed_;
  std::optional<std::pair<Verb, pid_t>> command_;
  std::optional<Result<>> answer_;
  std::vector<StopReport> reports_;
  std::map<pid_t, Watched> watched_;  // of the thread alone
  std::thread thread_;
};

StopWatcher::StopWatcher() : loop_(std::make_unique<Loop>()) {}
StopWatcher::~StopWatcher() = default;
Result<> StopWatcher::watch(pid_t pid) { return loop_->command(Loop::Verb::kWatch, pid); }
void StopWatcher::unwatch(pid_t pid) { (void)loop_->command(Loop::Verb::kUnwatch, pid); }
int StopWatcher::event_fd() const { return loop_->event_fd(); }
std::vector<StopReport> StopWatcher::take() { return loop_->take(); }

bool is_stopped(pid_t pid) {
  const auto state = process_state(pid);
  return state && (*state == 'T' || *state == 't');
}

}  // namespace ssi::deputy
