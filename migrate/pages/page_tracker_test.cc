// A real process that changes its mappings between two looks, step by step.
#include "migrate/pages/page_tracker.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "migrate/pages/remote_uffd.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kPages = 64;

// Does a step whenever it is told to, and says when it is done.
class Stepper {
 public:
  explicit Stepper(const std::function<void(char* memory, int step)>& step) {
    // Room around it: what is written there is watched apart.
    memory_ = static_cast<char*>(::mmap(nullptr, 4 * kPages * kPageBytes, PROT_NONE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) +
              kPages * kPageBytes;
    ::mmap(memory_, kPages * kPageBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    here_ = UniqueFd(ends[0]);
    UniqueFd there(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      for (std::size_t p = 0; p < kPages; ++p) memory_[p * kPageBytes] = 1;
      for (char byte; ::write(*there, "", 1) == 1 && ::read(*there, &byte, 1) == 1;) {
        step(memory_, byte);
      }
      ::_exit(0);
    }
    wait();
  }
  ~Stepper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(memory_ - kPages * kPageBytes, 4 * kPages * kPageBytes);
  }
  void step(int number) const {
    const char byte = static_cast<char>(number);
    REQUIRE(::write(*here_, &byte, 1) == 1);
    wait();
  }
  pid_t pid() const { return pid_; }
  // Of `pages`, those of its memory.
  std::vector<std::size_t> of_memory(const PageRanges& pages) const {
    std::vector<std::size_t> found;
    for (std::size_t p = 0; p < kPages; ++p) {
      const auto at = reinterpret_cast<std::uint64_t>(memory_) + p * kPageBytes;
      if (pages.first_piece({at, at + kPageBytes}).inside) found.push_back(p);
    }
    return found;
  }

 private:
  void wait() const {
    char byte;
    REQUIRE(::read(*here_, &byte, 1) == 1);
  }
  char* memory_ = nullptr;
  UniqueFd here_;
  pid_t pid_ = -1;
};

void write_to(char* memory, std::size_t page) { ++memory[page * kPageBytes]; }

bool has(const std::vector<std::size_t>& pages, std::size_t page) {
  return std::ranges::find(pages, page) != pages.end();
}

// None on a kernel that does not track writes.
std::optional<PageTracker> track(const Stepper& stepper) {
  auto tracker = PageTracker::start(stepper.pid(), open_userfaultfd_in);
  if (tracker) return std::move(*tracker);
  MESSAGE("not tracked: ", tracker.error().message());
  return {};
}

}  // namespace

TEST_CASE("only what was written since is written") {
  const Stepper stepper(
      [](char* memory, int step) { write_to(memory, static_cast<std::size_t>(step)); });
  auto tracker = track(stepper);
  if (!tracker) return;
  CHECK(stepper.of_memory(*tracker->take_written()).size() == kPages);
  stepper.step(7);
  CHECK(stepper.of_memory(*tracker->take_written()) == std::vector<std::size_t>{7});
  stepper.step(9);
  const auto unwritten = stepper.of_memory(*tracker->unwritten());
  CHECK(unwritten.size() == kPages - 1);
  CHECK_FALSE(has(unwritten, 9));
}

TEST_CASE("memory that is moved back takes its neighbours from us, and they are seen again") {
  constexpr int kAway = 0, kBack = 1;
  const Stepper stepper([](char* memory, int step) {
    char* const block = memory + 8 * kPageBytes;
    char* const away = memory + 2 * kPages * kPageBytes;
    if (step > kBack) return write_to(memory, static_cast<std::size_t>(step));
    ::mremap(step == kAway ? block : away, 4 * kPageBytes, 4 * kPageBytes,
             MREMAP_MAYMOVE | MREMAP_FIXED, step == kAway ? away : block);
  });
  auto tracker = track(stepper);
  if (!tracker) return;
  CHECK(stepper.of_memory(*tracker->take_written()).size() == kPages);
  stepper.step(kAway);
  CHECK(stepper.of_memory(*tracker->take_written()).empty());
  // Now the kernel makes one mapping of all of it, and watches none of it any more.
  stepper.step(kBack);
  stepper.step(40);
  stepper.step(9);
  const auto written = stepper.of_memory(*tracker->take_written());
  CHECK(has(written, 40));
  CHECK(has(written, 9));
  stepper.step(41);
  CHECK(stepper.of_memory(*tracker->take_written()) == std::vector<std::size_t>{41});
  stepper.step(kAway);
  CHECK(stepper.of_memory(*tracker->take_written()).empty());
  stepper.step(kBack);
  stepper.step(42);
  CHECK_FALSE(has(stepper.of_memory(*tracker->unwritten()), 42));
}

TEST_CASE("memory that is mapped anew in the place of old one is written") {
  const Stepper stepper([](char* memory, int step) {
    if (step != 0) return write_to(memory, static_cast<std::size_t>(step));
    ::mmap(memory, 16 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
           -1, 0);
  });
  auto tracker = track(stepper);
  if (!tracker) return;
  CHECK(stepper.of_memory(*tracker->take_written()).size() == kPages);
  stepper.step(0);
  stepper.step(3);
  CHECK(has(stepper.of_memory(*tracker->take_written()), 3));
  CHECK(has(stepper.of_memory(*tracker->unwritten()), 3));
  stepper.step(3);
  CHECK_FALSE(has(stepper.of_memory(*tracker->unwritten()), 3));
  CHECK(has(stepper.of_memory(*tracker->take_written()), 3));
}

}  // namespace ssi::migrate
