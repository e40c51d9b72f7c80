#include "migrate/fds/inotify.h"

#include <doctest/doctest.h>

namespace ssi::fds {

TEST_CASE("watches stand in fdinfo, a line each") {
  const std::string head = "pos:\t0\nflags:\t02004000\nmnt_id:\t16\nino:\t1062\n";
  const std::string watch =
      "inotify wd:2 ino:7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 "
      "f_handle:7e0000001\n";
  CHECK(watches_in(head) == 0);
  CHECK(watches_in(head + watch + watch) == 2);
}

TEST_CASE("an instance goes along that watches nothing and was read to the end") {
  CHECK(!inotify_why_not(0, 0));
  CHECK(inotify_why_not(1, 0) == "with watches, which would miss what happens while it moves");
  CHECK(inotify_why_not(0, 16) == "with events that it has not read");
}

}  // namespace ssi::fds
