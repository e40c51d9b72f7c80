// Locks of open files: flock(), record locks, leases.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// It has the lock all the time; whoever tries at home is told so. On SIGUSR1 it lets go, takes it
// again where it is then, and writes down how often. At its end it lets go.
class Locked : public Kind {
 public:
  using Act = bool (*)(int fd);
  Locked(const std::string& path, Act take, Act let_go)
      : fd_(open_new(path)), take_(take), let_go_(let_go) {
    expect(take_(fd_), "lock");
    struct sigaction action {};
    action.sa_handler = [](int) { relock_ = 1; };
    ::sigaction(SIGUSR1, &action, nullptr);
  }
  void round(Number n) override {
    if (relock_ != 0) {
      relock_ = 0;
      expect(let_go_(fd_), "unlock");
      expect(take_(fd_), "lock again");
      ++relocks_;
      expect(::pwrite(fd_, &relocks_, sizeof relocks_, 0) == sizeof relocks_, "write");
    }
    if (n % 32 != 0) return;
    expect(take_(fd_), "somebody else has the lock");
  }
  void end(Number) override { expect(let_go_(fd_), "unlock"); }

 private:
  inline static volatile sig_atomic_t relock_ = 0;
  int fd_;
  Act take_, let_go_;
  Number relocks_ = 0;
};

std::unique_ptr<Kind> make_flock(const std::string& dir) {
  return std::make_unique<Locked>(
      dir + "/lock", [](int fd) { return ::flock(fd, LOCK_EX | LOCK_NB) == 0; },
      [](int fd) { return ::flock(fd, LOCK_UN) == 0; });
}

// Bytes 10 to 19 for writing and all from 100 on for reading, however this is asked for.
template <int kCommand>
bool set_record_locks(int fd, short first, short second) {
  struct flock lock {};
  lock.l_type = first;
  lock.l_start = 10;
  lock.l_len = 10;
  if (::fcntl(fd, kCommand, &lock) != 0) return false;
  lock = {};
  lock.l_type = second;
  lock.l_start = 100;
  return ::fcntl(fd, kCommand, &lock) == 0;
}
template <int kCommand>
std::unique_ptr<Kind> make_record_lock(const std::string& dir) {
  return std::make_unique<Locked>(
      dir + "/lock", [](int fd) { return set_record_locks<kCommand>(fd, F_WRLCK, F_RDLCK); },
      [](int fd) { return set_record_locks<kCommand>(fd, F_UNLCK, F_UNLCK); });
}

// The file is its own by a lease for as long as the first word in it is 1. Told that somebody opens
// it, it makes that 0, counts it in the second one, and lets go; then it takes the lease anew as
// soon as it can, and a while later the file is its own again.
class Leased : public Kind {
 public:
  explicit Leased(const std::string& dir) {
    fd_ = ::open((dir + "/leased").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    expect(fd_ >= 0, "make a file");
    leased_fd_ = fd_;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      broken_ = 1;
      // One that its deputy has sent on is not of the kernel.
      if (info->si_code > 0 && info->si_fd != leased_fd_) wrong_fd_ = 1;
    };
    ::sigaction(SIGRTMIN + 3, &action, nullptr);
    expect(take(), "take a lease");
    write_down(1);
  }
  void round(Number) override {
    expect(wrong_fd_ == 0, "told of another descriptor");
    if (broken_ != 0) {
      broken_ = 0;
      if (own_) ++words_[1];
      write_down(0);
      expect(::fcntl(fd_, F_SETLEASE, F_UNLCK) == 0, "let go");
      taken_ = 0;
      return;
    }
    const int has = ::fcntl(fd_, F_GETLEASE);
    // Between the two, somebody may have come: then it is being broken, and a signal on its way.
    if (own_) expect(has == F_WRLCK || await_signal(), "it lost the lease and was not told");
    if (own_ || (taken_ == 0 && !take())) return;
    if (taken_ == 0) taken_ = now_ms();
    if (now_ms() - taken_ > 500 && broken_ == 0) write_down(1);
  }
  void end(Number) override { expect(words_[1] > 0 && ::close(fd_) == 0, "nobody came"); }

 private:
  static long now_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  }
  void write_down(Number own) {
    words_[0] = own;
    own_ = own != 0;
    expect(::pwrite(fd_, words_, sizeof words_, 0) == sizeof words_, "write");
  }
  // The kernel forgets the signal when it is let go.
  bool take() {
    return ::fcntl(fd_, F_SETSIG, SIGRTMIN + 3) == 0 && ::fcntl(fd_, F_SETLEASE, F_WRLCK) == 0;
  }
  static bool await_signal() {
    for (int i = 0; i < 5000 && broken_ == 0; ++i) ::usleep(1000);
    return broken_ != 0;
  }
  inline static volatile sig_atomic_t broken_ = 0, wrong_fd_ = 0;
  inline static int leased_fd_ = -1;
  int fd_ = -1;
  bool own_ = false;
  long taken_ = 0;
  Number words_[2] = {0, 0};
};

}  // namespace

void add_lock_kinds(Makers& makers) {
  makers["flock"] = make_flock;
  makers["file-record-lock"] = make_record_lock<F_OFD_SETLK>;
  makers["lease"] = make<Leased>();
}

}  // namespace fds_probe
