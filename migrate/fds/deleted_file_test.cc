#include "migrate/fds/deleted_file.h"

#include <doctest/doctest.h>

namespace ssi::fds {

TEST_CASE("a deleted file moves, what only looks like one does not") {
  CHECK(why_deleted_stays("/tmp/x (deleted)").empty());
  CHECK(why_deleted_stays("/dev/shm/x (deleted)").empty());
  CHECK(why_deleted_stays("/dev/zero (deleted)").empty());
  CHECK(why_deleted_stays("/SYSV00000000 (deleted)") == "a handle on System V shared memory");
}

}  // namespace ssi::fds
