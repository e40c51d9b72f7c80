#include "migrate/criu/criu_rpc.h"

#include <doctest/doctest.h>

namespace ssi::migrate {

TEST_CASE("the first error of a criu log is what a user gets to read") {
  CHECK(plain_error("(00.0) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: "
                    "Operation not permitted\n"
                    "(00.1) 12: Warn (criu/x.c:1): nothing\n"
                    "(00.2) 12: Error (criu/files-reg.c:2221): File tmp/log has bad size 3\n"
                    "(00.3) Error (criu/cr-restore.c:1): Restoring FAILED.\n") ==
        "File tmp/log has bad size 3");
  CHECK(plain_error("all is well\n").empty());
}

}  // namespace ssi::migrate
