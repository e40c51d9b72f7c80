// Real processes: what is sent of them, and what is not sent again.
#include "migrate/pages/unit_copy.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <vector>

#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kBytes = 1u << 20;

// Puts together what was sent, as the target does.
struct Target {
  StagedUnit staged{std::uint64_t{1} << 32};
  PageStreamParser parser{staged};
  PageWriter::Send send() {
    return [this](std::span<const std::uint8_t> bytes) { return parser.feed(bytes); };
  }
  char at(PageOwner owner, std::uint64_t address) {
    std::vector<char> page(kPageBytes);
    const std::uint64_t begin = address / kPageBytes * kPageBytes;
    const auto memory = staged.of(owner);
    REQUIRE(memory.ok());
    REQUIRE((*memory)->read(begin, page).ok());
    return page[address - begin];
  }
};

char* memory(int flags) {
  void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  return static_cast<char*>(at);
}

unsigned long inode_of(const char* at) {
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long begin = 0, inode = 0;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (std::sscanf(line, "%lx-%*x %*s %*s %*s %lu", &begin, &inode) == 2 &&
        begin == reinterpret_cast<unsigned long>(at)) {
      break;
    }
  }
  std::fclose(maps);
  return inode;
}

}  // namespace

TEST_CASE("unit copy: private and shared memory of two processes, the second time only news") {
  char* const shared = memory(MAP_SHARED);
  char* const own = memory(MAP_PRIVATE);
  std::fill(shared, shared + kBytes, 's');
  std::fill(own, own + kBytes, 'p');
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    own[5] = 'c';
    shared[3 * kPageBytes] = 'c';
    for (;;) ::pause();
  }
  while (*static_cast<volatile char*>(shared + 3 * kPageBytes) != 'c') ::usleep(1000);
  Target target;
  const PageOwner first{PageOwner::Kind::kProcess, 100}, second{PageOwner::Kind::kProcess, 101};
  UnitCopy copy({{::getpid(), first}, {child, second}}, target.send());
  REQUIRE(copy.run().ok());
  CHECK(copy.why_not() == "");
  CHECK(copy.sent_bytes() == target.staged.received_bytes());
  const PageOwner segment{PageOwner::Kind::kShmem, inode_of(shared)};
  const auto address = reinterpret_cast<std::uint64_t>(own);
  CHECK(target.staged.is_anonymous(segment));
  const PageOwner anonymous{PageOwner::Kind::kAnonymous, segment.id};
  CHECK(target.at(anonymous, kPageBytes) == 's');
  CHECK(target.at(anonymous, 3 * kPageBytes) == 'c');
  CHECK(target.at(first, address + 5) == 'p');
  CHECK(target.at(second, address + 5) == 'c');
  // Nothing of what was sent is news, but what changes.
  std::vector<std::uint8_t> page(own, own + kPageBytes);
  CHECK(!copy.sent().is_news(first, address, page.data()));
  page[7] = 'x';
  CHECK(copy.sent().is_news(first, address, page.data()));
  REQUIRE(copy.anonymous().sent().size() == 1);
  CHECK(copy.anonymous().sent()[0].inode == segment.id);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::munmap(shared, kBytes);
  ::munmap(own, kBytes);
}

TEST_CASE("unit copy: a process that has ended is no error") {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  Target target;
  UnitCopy copy({{child, {PageOwner::Kind::kProcess, 100}}}, target.send());
  REQUIRE(copy.run().ok());
  CHECK(copy.sent_bytes() == 0);
}

}  // namespace ssi::migrate
