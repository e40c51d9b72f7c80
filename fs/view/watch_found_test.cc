#include "fs/view/watch_found.h"

#include <doctest/doctest.h>
#include <sys/sysmacros.h>

using namespace ssi::fs;

TEST_CASE("watches are told by the numbers that the view gave, of that view only") {
  const std::string text =
      "pos:\t0\nflags:\t00\nmnt_id:\t15\nino:\t1062\n"
      "inotify wd:3 ino:9e7e sdev:2d mask:800afce ignored_mask:0 fhandle-bytes:c fhandle-type:81 "
      "f_handle:aa7f000010\n"
      "inotify wd:2 ino:9e7e sdev:2d mask:100 ignored_mask:0 fhandle-bytes:c fhandle-type:81 "
      "f_handle:aa7f00001032547600000000\n"
      "inotify wd:1 ino:1 sdev:2d mask:2 ignored_mask:0 fhandle-bytes:c fhandle-type:81 "
      "f_handle:000000000100000000000000\n"
      "inotify wd:4 ino:5 sdev:800013 mask:fce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 "
      "f_handle:3a8d4f00a1b2c3d4\n";
  WatchedFiles found;
  add_watched(text, ::makedev(0, 0x2d), found);
  CHECK(found == WatchedFiles{{1, 2}, {0x7faa76543210, 0x100}});
  add_watched(
      "inotify wd:9 ino:1 sdev:2d mask:4 ignored_mask:0 fhandle-bytes:c fhandle-type:81 "
      "f_handle:000000000100000000000000",
      ::makedev(0, 0x2d), found);
  CHECK(found[1] == 6);
}

TEST_CASE("the cgroup is that of version 2") {
  CHECK(cgroup_in("12:cpu:/a\n0::/ssid/guests/1-5-1\n") == "/ssid/guests/1-5-1");
  CHECK(cgroup_in("12:cpu:/a\n").empty());
}
