#include "migrate/pages/staged_memory.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

using namespace ssi;
using namespace ssi::migrate;

namespace {

constexpr std::uint64_t kMax = 64 * kPageBytes;

void put(StagedMemory& memory, std::uint64_t page, char with, std::uint64_t pages = 1) {
  const std::vector<std::uint8_t> bytes(pages * kPageBytes, static_cast<std::uint8_t>(with));
  REQUIRE(memory.begin({page * kPageBytes, (page + pages) * kPageBytes}).ok());
  REQUIRE(memory.add(bytes).ok());
}

PageRange range(std::uint64_t begin, std::uint64_t end) {
  return {begin * kPageBytes, end * kPageBytes};
}

}  // namespace

TEST_CASE("staged as it is: the file is the memory, without what was not kept") {
  auto made = StagedMemory::create(kMax, StagedMemory::Layout::kAsItIs);
  REQUIRE(made);
  StagedMemory memory = std::move(*made);
  put(memory, 1000, 'a', 4);
  put(memory, 2, 'b');
  put(memory, 1001, 'c');  // once more
  CHECK(memory.file_bytes() == 5 * kPageBytes);
  CHECK(memory.keep(range(1000, 1002)).ok());
  CHECK_FALSE(memory.keep(range(1003, 1005)).ok());
  CHECK_FALSE(memory.keep(range(0, 1)).ok());
  REQUIRE(memory.drop_others().ok());
  std::vector<char> page(kPageBytes);
  const auto at = [&](std::uint64_t number) {
    const auto offset = static_cast<off_t>(number * kPageBytes);
    REQUIRE(::pread(memory.data_fd(), page.data(), page.size(), offset) == kPageBytes);
    return page[17];
  };
  CHECK(at(1000) == 'a');
  CHECK(at(1001) == 'c');
  CHECK(at(2) == 0);
  CHECK(at(1003) == 0);
  struct stat st {};
  REQUIRE(::fstat(memory.data_fd(), &st) == 0);
  CHECK(st.st_blocks * 512 == 2 * static_cast<long>(kPageBytes));
  CHECK(memory.read(1001 * kPageBytes, page).ok());
  CHECK_FALSE(memory.read(2 * kPageBytes, page).ok());
}

TEST_CASE("staged as it is: not more than was offered, nor where no file can have it") {
  auto made = StagedMemory::create(kMax, StagedMemory::Layout::kAsItIs);
  REQUIRE(made);
  put(*made, 1 << 20, 'x', 64);
  CHECK_FALSE(made->begin(range(0, 1)).ok());
  auto other = StagedMemory::create(kMax, StagedMemory::Layout::kAsItIs);
  CHECK_FALSE(other->begin({1ull << 60, (1ull << 60) + kPageBytes}).ok());
}
