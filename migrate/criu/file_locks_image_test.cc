#include "migrate/criu/file_locks_image.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {

TEST_CASE("an image of locks has an entry for each range, in criu's words") {
  const std::string image =
      locks_image({{812, 7, {10, 19, F_RDLCK, 0}}, {812, 7, {100, INT64_MAX, F_WRLCK, 0}}}, {});
  CHECK(image.substr(0, 8) == "\x19\x43\x56\x54\x16\x36\x32\x54");
  std::vector<image::file_lock_entry> entries;
  REQUIRE(for_each_entry(image, "locks", [&](std::string_view bytes) {
    return entries.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].flag() == 1);
  CHECK(entries[0].type() == F_RDLCK);
  CHECK(entries[0].pid() == 812);
  CHECK(entries[0].fd() == 7);
  CHECK(entries[0].start() == 10);
  CHECK(entries[0].len() == 10);
  CHECK(entries[1].type() == F_WRLCK);
  CHECK(entries[1].start() == 100);
  CHECK(entries[1].len() == 0);
}

TEST_CASE("leases follow, whole and being broken") {
  const std::string image = locks_image({}, {{812, 7, {F_WRLCK, 0}}, {813, 8, {F_UNLCK, 1}}});
  std::vector<image::file_lock_entry> entries;
  REQUIRE(for_each_entry(image, "locks", [&](std::string_view bytes) {
    return entries.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].flag() == 8);
  CHECK(entries[0].type() == F_WRLCK);
  CHECK(entries[0].pid() == 812);
  CHECK(entries[0].fd() == 7);
  CHECK(entries[1].type() == (F_UNLCK | 4));
  CHECK(entries[1].pid() == 813);
}

}  // namespace ssi::migrate
