#include "fs/view/lock_ranges.h"

#include <doctest/doctest.h>
#include <fcntl.h>

namespace ssi::fs {

TEST_CASE("a range that is let go in the middle leaves two") {
  const auto whole = with_lock({}, {0, 99, F_WRLCK});
  const auto split = with_lock(whole, {40, 59, F_UNLCK});
  CHECK(split == std::vector<RecordLock>{{0, 39, F_WRLCK}, {60, 99, F_WRLCK}});
  CHECK(with_lock(split, {0, 99, F_UNLCK}).empty());
}

TEST_CASE("a lock of another kind takes the place of what it covers") {
  const auto held = with_lock({{0, 9, F_RDLCK}, {20, 29, F_WRLCK}}, {5, 24, F_WRLCK});
  CHECK(held == std::vector<RecordLock>{{0, 4, F_RDLCK}, {25, 29, F_WRLCK}, {5, 24, F_WRLCK}});
}

}  // namespace ssi::fs
