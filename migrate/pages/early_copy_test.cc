// Copying a real process that writes all the time.
#include "migrate/pages/early_copy.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "migrate/pages/remote_uffd.h"
#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kPages = 4096;  // 16 MiB

// Writes, moves and gives up memory of its own until it is killed; counts in its first page how
// often a system call failed in a way that it must not.
class Writer {
 public:
  explicit Writer(bool direct_io = false) {
    shared_ = static_cast<std::uint64_t*>(
        ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_ = ::fork();
    if (pid_ == 0) write_for_ever(direct_io);
    while (turns() < 3) ::usleep(1000);
  }
  ~Writer() {
    ::kill(pid_, SIGKILL);
    int status;
    ::waitpid(pid_, &status, 0);
    ::munmap(shared_, kPageBytes);
  }
  pid_t pid() const { return pid_; }
  std::uint64_t turns() const { return __atomic_load_n(shared_, __ATOMIC_SEQ_CST); }
  std::uint64_t failures() const { return __atomic_load_n(shared_ + 1, __ATOMIC_SEQ_CST); }
  void stop() const {
    ::kill(pid_, SIGSTOP);
    int status;
    REQUIRE(::waitpid(pid_, &status, WUNTRACED) == pid_);
  }

 private:
  [[noreturn]] void write_for_ever(bool direct_io) {
    if (direct_io && ::open("/proc/self/exe", O_RDONLY | O_DIRECT) < 0) ::_exit(1);
    const int source = ::open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    const int lowest = ::dup(0);
    ::close(lowest);
    std::thread([this, lowest] {
      for (;;) {
        const int fd = ::dup(0);  // nobody may have put a descriptor in between
        if (fd != lowest) ++shared_[1];
        ::close(fd);
        timespec t{0, 200'000};
        if (::nanosleep(&t, nullptr) != 0) ++shared_[1];
      }
    }).detach();
    auto* m =
        static_cast<char*>(::mmap(nullptr, (kPages + 128) * kPageBytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    std::mt19937_64 random(5);
    for (std::size_t p = 0; p < kPages; ++p) m[p * kPageBytes] = static_cast<char>(p);
    for (;;) {
      for (int i = 0; i < 200; ++i) {
        const std::uint64_t value = random();
        std::memcpy(m + (random() % kPages) * kPageBytes + 8, &value, sizeof value);
      }
      // The kernel writes, too.
      if (::read(source, m + (random() % kPages) * kPageBytes + 100, 600) != 600) ++shared_[1];
      // Always the same blocks: a block is one mapping, whatever was watched when.
      const std::size_t at = random() % (kPages / 8) * 8;
      ::madvise(m + at * kPageBytes, 4 * kPageBytes, MADV_DONTNEED);
      char* half = static_cast<char*>(::mremap(m + at * kPageBytes, 8 * kPageBytes, 8 * kPageBytes,
                                               MREMAP_MAYMOVE | MREMAP_FIXED,
                                               m + (kPages + 64) * kPageBytes));
      half = static_cast<char*>(::mremap(half, 8 * kPageBytes, 8 * kPageBytes,
                                         MREMAP_MAYMOVE | MREMAP_FIXED, m + at * kPageBytes));
      if (half != m + at * kPageBytes) ++shared_[1];
      ::mprotect(half, kPageBytes, PROT_NONE);
      ::mprotect(half, kPageBytes, PROT_READ | PROT_WRITE);
      __atomic_add_fetch(shared_, 1, __ATOMIC_SEQ_CST);
      ::usleep(500);
    }
  }
  std::uint64_t* shared_;
  pid_t pid_;
};

}  // namespace

TEST_CASE("what counts as unchanged is what was sent, and the process has not noticed") {
  for (int round = 0; round < 5; ++round) {
    Writer writer;
    constexpr PageOwner kOwner{PageOwner::Kind::kProcess, 1};
    StagedUnit unit(1u << 30);
    StagedMemory& staged = **unit.of(kOwner);
    PageStreamParser parser(unit);
    EarlyCopy copy(writer.pid(), kOwner, open_userfaultfd_in,
                   [&](auto bytes) { return parser.feed(bytes); });
    const std::uint64_t before = writer.turns();
    const auto copied = copy.run();
    if (!copied) FAIL(copied.error().message());
    if (!copy.why_not().empty()) {
      MESSAGE("not copied: ", copy.why_not());
      return;  // an older kernel
    }
    CHECK(copy.sent_bytes() >= kPages * kPageBytes / 2);
    CHECK(copy.sent_bytes() == unit.received_bytes());
    while (writer.turns() < before + 10) ::usleep(1000);
    writer.stop();
    const PageRanges unchanged = copy.unchanged();
    CHECK(!unchanged.empty());
    std::vector<char> here(kPageBytes), there(kPageBytes);
    std::size_t wrong = 0;
    for (const auto& [begin, end] : unchanged.ranges()) {
      REQUIRE(staged.keep({begin, end}).ok());
      for (std::uint64_t at = begin; at < end; at += kPageBytes) {
        const iovec local{there.data(), kPageBytes};
        const iovec remote{reinterpret_cast<void*>(at), kPageBytes};
        if (::process_vm_readv(writer.pid(), &local, 1, &remote, 1, 0) != ssize_t{kPageBytes}) {
          continue;
        }
        REQUIRE(staged.read(at, here).ok());
        if (here != there) ++wrong;
      }
    }
    CHECK(wrong == 0);
    CHECK(writer.failures() == 0);
  }
}

TEST_CASE("a process whose memory devices may write into is not copied ahead") {
  Writer writer(true);
  EarlyCopy copy(writer.pid(), {PageOwner::Kind::kProcess, 1}, open_userfaultfd_in,
                 [](auto) { return Result<>(); });
  REQUIRE(copy.run().ok());
  CHECK(copy.why_not().find("direct I/O") != std::string::npos);
  CHECK(copy.unchanged().empty());
}

}  // namespace ssi::migrate
