#include "fs/store/held_files.h"

#include <doctest/doctest.h>
#include <fcntl.h>

using namespace ssi;
using namespace ssi::fs;

namespace {
HeldFiles::SharedFd some_file() {
  return std::make_shared<const UniqueFd>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}
}  // namespace

TEST_CASE("a held file is found by its number until it is released") {
  HeldFiles files;
  const auto file = some_file();
  const std::uint64_t id = files.hold(file);
  const std::uint64_t other = files.hold(some_file());
  CHECK(id != 0);
  CHECK(id != other);
  CHECK(files.find(id) == file);
  files.release(id);
  CHECK(files.find(id) == nullptr);
  CHECK(files.find(other) != nullptr);
  CHECK(files.find(id + other) == nullptr);
}

TEST_CASE("a hold that both movers forgot goes by itself") {
  HeldFiles::Clock::time_point now{};
  HeldFiles files([&] { return now; });
  const std::weak_ptr<const UniqueFd> file = [&] {
    auto held = some_file();
    files.hold(held);
    return held;
  }();
  now += HeldFiles::kHeldFor - std::chrono::seconds(1);
  CHECK(files.size() == 1);
  CHECK(!file.expired());
  now += std::chrono::seconds(1);
  CHECK(files.size() == 0);
  CHECK(file.expired());
}
