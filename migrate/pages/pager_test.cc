// The pager with a real userfaultfd, opened as criu opens it, in a process of its own that changes
// its mappings while its memory is being installed.
#include "migrate/pages/pager.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "migrate/pages/staged_memory.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kPages = 2048;  // 8 MiB
constexpr std::size_t kBytes = kPages * kPageBytes;

std::uint64_t content(std::size_t page) { return page * 0x9e3779b97f4a7c15ull + 1; }
std::uint64_t& word(char* memory, std::size_t page) {
  return *reinterpret_cast<std::uint64_t*>(memory + page * kPageBytes + 8);
}
bool good(char* memory, std::size_t begin, std::size_t end) {
  for (std::size_t p = begin; p < end; ++p) {
    if (word(memory, p) != content(p)) return false;
  }
  return true;
}

// What the process does once its memory may be touched; its exit status says whether all was right.
using Body = std::function<bool(char* memory)>;

bool register_memory(int uffd, char* memory, std::size_t bytes) {
  uffdio_register r{};
  r.range = {reinterpret_cast<std::uint64_t>(memory), bytes};
  r.mode = UFFDIO_REGISTER_MODE_MISSING;
  return ::ioctl(uffd, UFFDIO_REGISTER, &r) == 0;
}

[[noreturn]] void be_process(int socket, char* memory, const Body& body) {
  const int uffd = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP |
                 UFFD_FEATURE_EVENT_REMOVE;
  // Two mappings side by side: the kernel installs into one at a time.
  ::mprotect(memory, kBytes / 2, PROT_READ | PROT_WRITE | PROT_EXEC);
  if (uffd < 0 || ::ioctl(uffd, UFFDIO_API, &api) != 0 || !register_memory(uffd, memory, kBytes)) {
    ::_exit(2);
  }
  std::byte byte{};
  (void)unix_send(socket, {&byte, 1}, {&uffd, 1}, 0).ok();
  ::close(uffd);
  ::recv(socket, &byte, 1, 0);  // the pager stands
  ::_exit(body(memory) ? 0 : 1);
}

UniqueFd receive_fd(int socket) {
  auto message = unix_recv(socket, 1, 1, 0);
  REQUIRE(message.ok());
  REQUIRE(message->descriptors.size() == 1);
  return std::move(message->descriptors[0]);
}

StagedMemory staged(char* memory) {
  auto made = StagedMemory::create(1u << 30, StagedMemory::Layout::kAsItComes).value();
  std::vector<std::uint8_t> page(kPageBytes);
  // Not in order, as pages come that are sent again.
  for (std::size_t step : {std::size_t{1}, std::size_t{0}}) {
    for (std::size_t p = step; p < kPages; p += 2) {
      const auto at = reinterpret_cast<std::uint64_t>(memory) + p * kPageBytes;
      REQUIRE(made.begin({at, at + kPageBytes}).ok());
      const std::uint64_t value = content(p);
      std::memcpy(page.data() + 8, &value, sizeof value);
      REQUIRE(made.add(page).ok());
      REQUIRE(made.keep({at, at + kPageBytes}).ok());
    }
  }
  return made;
}

// Both exit statuses: of the process and of the pager.
std::pair<int, bool> run(bool go, const Body& body) {
  auto* memory = static_cast<char*>(
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  StagedMemory data = staged(memory);
  int ends[2], go_ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  REQUIRE(::pipe2(go_ends, O_CLOEXEC) == 0);
  UniqueFd here(ends[0]), there(ends[1]), go_write(go_ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) be_process(*there, memory, body);
  ::munmap(memory, kBytes);
  UniqueFd uffd = receive_fd(*here);
  auto pager = Pager::open({std::move(uffd), UniqueFd(::dup(data.data_fd())),
                            data.make_index().value(), UniqueFd(go_ends[0])});
  REQUIRE(pager.ok());
  if (go) go_write.reset();
  REQUIRE(::send(*here, "x", 1, 0) == 1);
  const auto ran = pager->run();
  INFO((ran ? "" : ran.error().message()));
  const bool paged = ran.ok();
  if (!paged) ::kill(pid, SIGKILL);  // as init does: it would wait for ever
  CHECK(paged);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return {status, paged};
}

}  // namespace

TEST_CASE("a process finds its memory in its place, touched early or late") {
  for (const bool go : {false, true}) {
    const auto [status, paged] = run(go, [](char* m) {
      for (std::size_t i = 0; i < kPages; ++i) {
        const std::size_t p = i * 797 % kPages;
        if (word(m, p) != content(p)) return false;
      }
      return true;
    });
    CHECK(status == 0);
    CHECK(paged);
  }
}

TEST_CASE("memory that is moved, given up or unmapped while it is installed") {
  for (const bool go : {false, true}) {
    const auto [status, paged] = run(go, [](char* m) {
      // The last quarter goes elsewhere: where nothing is, not over a library of this program.
      void* const free_place =
          ::mmap(nullptr, kBytes / 4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      char* moved = static_cast<char*>(::mremap(m + kBytes / 4 * 3, kBytes / 4, kBytes / 4,
                                                MREMAP_MAYMOVE | MREMAP_FIXED, free_place));
      ::madvise(m + 16 * kPageBytes, 16 * kPageBytes, MADV_DONTNEED);
      ::munmap(m + 64 * kPageBytes, 16 * kPageBytes);
      bool right =
          moved == free_place && good(m, 0, 16) && good(m, 32, 64) && good(m, 80, kPages / 4 * 3);
      for (std::size_t p = 16; p < 32; ++p) right = right && word(m, p) == 0;
      for (std::size_t p = 0; p < kPages / 4; ++p) {
        right = right && word(moved, p) == content(kPages / 4 * 3 + p);
      }
      // What is mapped anew is empty.
      char* fresh =
          static_cast<char*>(::mmap(m + 64 * kPageBytes, 16 * kPageBytes, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
      return right && word(fresh, 0) == 0;
    });
    CHECK(status == 0);
    CHECK(paged);
  }
}

// Whoever touches pages asks again and again; the others have to be heard all the same.
TEST_CASE("threads that touch memory while others change the mappings") {
  for (const bool go : {true, false}) {
    const auto [status, paged] = run(go, [](char* memory) {
      constexpr std::size_t kReaders = 4, kPart = kPages / 8;
      std::atomic<bool> right = true;
      std::vector<std::thread> threads;
      for (std::size_t r = 0; r < kReaders; ++r) {
        threads.emplace_back([&, r] {
          for (std::size_t p = r * kPart; p < (r + 1) * kPart; ++p) {
            if (word(memory, p) != content(p)) right = false;
          }
        });
      }
      threads.emplace_back([&] {
        for (std::size_t p = 4 * kPart; p < 6 * kPart; ++p) {
          ::munmap(memory + p * kPageBytes, kPageBytes);
        }
      });
      threads.emplace_back([&] {
        for (std::size_t p = 6 * kPart; p < 8 * kPart; ++p) {
          ::madvise(memory + p * kPageBytes, kPageBytes, MADV_DONTNEED);
          if (word(memory, p) != 0) right = false;
        }
      });
      for (std::thread& t : threads) t.join();
      return right.load();
    });
    CHECK(status == 0);
    CHECK(paged);
  }
}

TEST_CASE("children that are forked while memory is installed have all of it") {
  for (const bool go : {false, true}) {
    const auto [status, paged] = run(go, [](char* m) {
      pid_t children[4];
      for (pid_t& child : children) {
        word(m, 7) = content(7);
        child = ::fork();
        if (child == 0) ::_exit(good(m, 0, kPages) ? 0 : 1);
      }
      bool right = good(m, 0, kPages);
      for (const pid_t child : children) {
        int how = 0;
        ::waitpid(child, &how, 0);
        right = right && how == 0;
      }
      return right;
    });
    CHECK(status == 0);
    CHECK(paged);
  }
}

TEST_CASE("a process that ends before it has touched everything ends its pager") {
  const auto [status, paged] = run(true, [](char* m) { return good(m, 0, 3); });
  CHECK(status == 0);
  CHECK(paged);
}

TEST_CASE("a damaged index is refused") {
  auto data = StagedMemory::create(1u << 30, StagedMemory::Layout::kAsItComes).value();
  REQUIRE(data.begin({0x1000, 0x3000}).ok());
  for (const StagedPiece bad :
       {StagedPiece{{0x1000, 0x1000}, 0}, StagedPiece{{0x1000, 0x2001}, 0},
        StagedPiece{{0x1000, 0x9000}, 0}, StagedPiece{{0x1000, 0x2000}, ~std::uint64_t{0} << 12}}) {
    UniqueFd index(::memfd_create("index", MFD_CLOEXEC));
    REQUIRE(::write(*index, &bad, sizeof bad) == sizeof bad);
    UniqueFd uffd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    CHECK(!Pager::open({std::move(uffd), UniqueFd(::dup(data.data_fd())), std::move(index), {}})
               .ok());
  }
}

}  // namespace ssi::migrate
