// A memfd in place of anonymous memory, put together as the target does.
#include "migrate/pages/anonymous_copy.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {
namespace {

constexpr std::uint64_t kInode = 7;
constexpr PageOwner kOwner{PageOwner::Kind::kAnonymous, kInode};

struct Move {
  UniqueFd source{::memfd_create("source", MFD_CLOEXEC)};
  StagedUnit staged{std::uint64_t{1} << 32};
  PageStreamParser parser{staged};
  AnonymousCopy copy{[this](auto bytes) { return parser.feed(bytes); }};

  Move() {
    REQUIRE(::ftruncate(*source, 64 * kPageBytes) == 0);
    copy.add(kInode, UniqueFd(::fcntl(*source, F_DUPFD_CLOEXEC, 0)));
  }
  void write(std::uint64_t page, char content) {
    const std::string bytes(kPageBytes, content);
    REQUIRE(::pwrite(*source, bytes.data(), bytes.size(), static_cast<off_t>(page * kPageBytes)) ==
            static_cast<ssize_t>(bytes.size()));
  }
  void punch(std::uint64_t page) {
    REQUIRE(::fallocate(*source, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(page * kPageBytes), kPageBytes) == 0);
  }
  int target() {
    const auto memory = staged.of(kOwner);
    REQUIRE(memory.ok());
    return (*memory)->data_fd();
  }
  char at(std::uint64_t page) {
    char byte = '?';
    REQUIRE(::pread(target(), &byte, 1, static_cast<off_t>(page * kPageBytes)) == 1);
    return byte;
  }
};

}  // namespace

TEST_CASE("anonymous memory: sent once, then what changes; what is gone at last is not there") {
  Move move;
  for (std::uint64_t page = 0; page < 16; ++page) move.write(page, 'a');
  REQUIRE(move.copy.pass().ok());
  CHECK(move.copy.sent_bytes() == 16 * kPageBytes);
  move.write(3, 'b');
  move.write(20, 'c');
  REQUIRE(move.copy.pass().ok());
  CHECK(move.copy.sent_bytes() == 18 * kPageBytes);
  move.write(5, 'd');
  move.punch(8);
  REQUIRE(move.copy.finish().ok());
  CHECK(move.copy.sent_bytes() == 19 * kPageBytes);
  CHECK(move.copy.kept_bytes() == 16 * kPageBytes);
  REQUIRE(move.staged.drop_others().ok());
  CHECK(move.at(0) == 'a');
  CHECK(move.at(3) == 'b');
  CHECK(move.at(5) == 'd');
  CHECK(move.at(20) == 'c');
  struct stat st {};
  REQUIRE(::fstat(move.target(), &st) == 0);
  CHECK(static_cast<std::uint64_t>(st.st_blocks) * 512 == 16 * kPageBytes);
}

TEST_CASE("anonymous memory: of what nothing was sent ahead nothing is sent at last") {
  Move move;
  REQUIRE(move.copy.pass().ok());
  CHECK(move.copy.sent().empty());
  move.write(0, 'a');
  REQUIRE(move.copy.finish().ok());
  CHECK(move.copy.sent_bytes() == 0);
  REQUIRE(move.copy.pass().ok());
  struct stat st {};
  REQUIRE(::fstat(*move.source, &st) == 0);
  REQUIRE(move.copy.sent().size() == 1);
  CHECK(move.copy.sent()[0].device == st.st_dev);
  CHECK(move.copy.sent()[0].inode == st.st_ino);
}

}  // namespace ssi::migrate
