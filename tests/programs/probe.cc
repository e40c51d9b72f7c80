// A program that is moved while it watches itself: holds MEMORY_MIB of data with a known checksum,
// runs THREADS busy threads, keeps one descriptor of each kind that moves, and measures the largest
// gap in its clock. With HOT_MIB it writes that much other memory all the time, 100 MiB a second,
// and knows what must be in it. On SIGUSR1 it appends one line of JSON to REPORT and starts
// measuring anew; on SIGTERM it exits with 42.
//
// With JOURNAL it sleeps most of the time and appends 1, 2, 3, .. to that file, a line each 5 ms:
// if ever two copies ran, or one went back in time, the numbers tell.
//
//   probe REPORT MEMORY_MIB THREADS [HOT_MIB [JOURNAL]]
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

// Not CLOCK_MONOTONIC: criu restores into a time namespace that leaves the move out of it.
std::int64_t now_us() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1000;
}

// xorshift: data that no compression or page sharing makes small.
class Noise {
 public:
  std::uint64_t next() {
    x_ ^= x_ << 13;
    x_ ^= x_ >> 7;
    x_ ^= x_ << 17;
    return x_;
  }

 private:
  std::uint64_t x_ = 88172645463325252ull;
};

std::uint64_t checksum(const std::vector<std::uint64_t>& data) {
  std::uint64_t sum = 14695981039346656037ull;
  for (const std::uint64_t word : data) sum = (sum ^ word) * 1099511628211ull;
  return sum;
}

volatile sig_atomic_t report_wanted = 0;
void on_usr1(int) { report_wanted = 1; }
void on_term(int) { ::_exit(42); }

// Pages written in turn, for ever: in each the number of the turn, twice. A page that a move lost a
// write of shows an older turn than its neighbours.
class HotMemory {
 public:
  explicit HotMemory(std::size_t mib) : words_(mib << 17) {}

  void write_for_ever() {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        for (int i = 0; i < 64; ++i) write_one();
      }
      ::usleep(2500);
    }
  }
  bool good() const {
    const std::lock_guard lock(mutex_);
    for (std::size_t page = 0; page < pages(); ++page) {
      const std::uint64_t* at = &words_[page * kWords];
      if (at[0] != (page < next_ ? turn_ : turn_ - 1) || at[kWords - 1] != ~at[0])
        return turn_ == 1;
    }
    return true;
  }
  bool empty() const { return words_.empty(); }

 private:
  static constexpr std::size_t kWords = 512;  // a page
  std::size_t pages() const { return words_.size() / kWords; }
  void write_one() {
    words_[next_ * kWords] = turn_;
    words_[next_ * kWords + kWords - 1] = ~turn_;
    if (++next_ < pages()) return;
    next_ = 0;
    ++turn_;
  }

  mutable std::mutex mutex_;
  std::vector<std::uint64_t> words_;
  std::size_t next_ = 0;
  std::uint64_t turn_ = 1;
};

struct Descriptors {
  int pipe_ends[2];
  int event = ::eventfd(5, EFD_CLOEXEC);
  int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  int poll = ::epoll_create1(EPOLL_CLOEXEC);
  int memory = ::memfd_create("probe", MFD_CLOEXEC);
  int directory = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);

  Descriptors() {
    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) std::abort();
    if (::write(pipe_ends[1], "pipe", 4) != 4) std::abort();
    if (::write(memory, "memfd", 5) != 5) std::abort();
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = 77;
    if (::epoll_ctl(poll, EPOLL_CTL_ADD, event, &e) != 0) std::abort();
  }

  // Uses each and leaves it as it was.
  bool work() const {
    char text[8] = {};
    if (::read(pipe_ends[0], text, 4) != 4 || std::strcmp(text, "pipe") != 0) return false;
    if (::write(pipe_ends[1], "pipe", 4) != 4) return false;
    std::memset(text, 0, sizeof text);
    if (::pread(memory, text, 5, 0) != 5 || std::strcmp(text, "memfd") != 0) return false;
    epoll_event e{};
    if (::epoll_wait(poll, &e, 1, 0) != 1 || e.data.u64 != 77) return false;
    std::uint64_t value = 0;
    if (::read(event, &value, sizeof value) != sizeof value || value != 5) return false;
    if (::write(event, &value, sizeof value) != sizeof value) return false;
    itimerspec spec{};
    spec.it_value.tv_nsec = 1;
    if (::timerfd_settime(timer, 0, &spec, nullptr) != 0) return false;
    ::usleep(1000);
    if (::read(timer, &value, sizeof value) != sizeof value || value == 0) return false;
    return ::faccessat(directory, "etc", F_OK, 0) == 0 && ::write(null, "x", 1) == 1;
  }
};

class Journal {
 public:
  explicit Journal(const char* path)
      : fd_(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (fd_ < 0) std::abort();
  }
  void write_next() {
    char line[24];
    const int n = std::snprintf(line, sizeof line, "%llu\n", ++number_);
    if (::write(fd_, line, static_cast<std::size_t>(n)) != n) std::abort();
    ::usleep(5000);
  }

 private:
  int fd_;
  unsigned long long number_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 6) {
    std::fprintf(stderr, "usage: probe REPORT MEMORY_MIB THREADS [HOT_MIB [JOURNAL]]\n");
    return 2;
  }
  std::FILE* report = std::fopen(argv[1], "w");
  if (report == nullptr) return 1;
  std::vector<std::uint64_t> data(std::strtoull(argv[2], nullptr, 10) << 17);
  Noise noise;
  for (std::uint64_t& word : data) word = noise.next();
  const std::uint64_t expected = checksum(data);
  HotMemory hot(argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 0);
  const Descriptors descriptors;
  const pid_t pid = ::getpid();

  std::atomic<std::uint64_t> turns{0};
  for (int i = 1; i < std::atoi(argv[3]); ++i) {
    std::thread([&turns] {
      for (;;) {
        ++turns;
        ::usleep(2000);
      }
    }).detach();
  }
  if (!hot.empty()) std::thread([&hot] { hot.write_for_ever(); }).detach();
  ::signal(SIGUSR1, on_usr1);
  ::signal(SIGTERM, on_term);
  std::optional<Journal> journal;
  if (argc == 6) journal.emplace(argv[5]);

  std::int64_t last = now_us(), longest = 0;
  for (std::uint64_t reports = 0;;) {
    const std::int64_t now = now_us();
    if (now - last > longest) longest = now - last;
    last = now;
    if (journal) journal->write_next();
    if (!report_wanted) continue;
    report_wanted = 0;
    const std::int64_t look_begin = now_us();
    const bool memory_good = checksum(data) == expected && hot.good();
    const std::int64_t look = now_us() - look_begin;
    const bool descriptors_good = descriptors.work();
    std::fprintf(report,
                 "{\"report\": %llu, \"gap_us\": %lld, \"look_us\": %lld, \"memory_good\": %s, "
                 "\"descriptors_good\": %s, "
                 "\"pid\": %d, \"same_pid\": %s, \"turns\": %llu}\n",
                 static_cast<unsigned long long>(++reports), static_cast<long long>(longest),
                 static_cast<long long>(look), memory_good ? "true" : "false",
                 descriptors_good ? "true" : "false", pid, ::getpid() == pid ? "true" : "false",
                 static_cast<unsigned long long>(turns.load()));
    std::fflush(report);
    longest = 0;
    last = now_us();
  }
}
