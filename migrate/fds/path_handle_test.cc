#include "migrate/fds/path_handle.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

namespace ssi::fds {

TEST_CASE("a path handle moves if there can be the same where it goes") {
  CHECK(why_path_handle_stays({.type = S_IFREG}).empty());
  CHECK(why_path_handle_stays({.type = S_IFDIR}).empty());
  CHECK(why_path_handle_stays({.type = S_IFLNK}).empty());
  CHECK(why_path_handle_stays({.type = S_IFSOCK}).ends_with("no file, directory or link"));
  CHECK(why_path_handle_stays({.type = S_IFDIR, .of_kernel = true}).ends_with("machine's kernel"));
}

}  // namespace ssi::fds
