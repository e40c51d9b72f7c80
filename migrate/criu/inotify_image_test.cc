#include "migrate/criu/inotify_image.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

const std::string kHead("\1\2\3\4\5\6\7\10", 8);

image::file_entry instance(std::uint32_t id, std::uint32_t flags,
                           const std::vector<fds::Watch>& watches) {
  image::file_entry entry;
  entry.set_type(8);
  entry.mutable_ify()->set_id(id);
  entry.mutable_ify()->set_flags(flags);
  entry.mutable_ify()->set_fown("owner");
  for (const fds::Watch& watch : watches) {
    auto& wd = *entry.mutable_ify()->add_wd();
    wd.set_wd(static_cast<std::uint32_t>(watch.number));
    wd.set_i_ino(watch.inode);
    wd.set_mask(watch.mask);
  }
  return entry;
}

std::string image_of(const std::vector<image::file_entry>& entries) {
  std::string image = kHead;
  for (const auto& entry : entries) add_entry(image, entry.SerializeAsString());
  return image;
}

std::vector<image::file_entry> entries_of(const std::string& image) {
  std::vector<image::file_entry> all;
  REQUIRE(for_each_entry(image, "open files", [&](std::string_view bytes) {
            return all.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
          }).ok());
  return all;
}

}  // namespace

TEST_CASE("an instance becomes the file that criu is given for it; without watches it stays") {
  const fds::Watcher first{7, 3, O_NONBLOCK, {{1, 10, 2, "/a"}, {2, 11, 0x100, "/b"}}};
  const fds::Watcher second{7, 4, O_NONBLOCK, {{1, 10, 2, "/a"}}};
  const auto changed =
      with_given_watchers(image_of({instance(40, O_NONBLOCK, second.watches), instance(41, 0, {}),
                                    instance(42, O_NONBLOCK, first.watches)}),
                          {first, second});
  REQUIRE(changed.ok());
  CHECK(changed->ids == std::set<std::uint32_t>{40, 42});
  const auto entries = entries_of(changed->files);
  REQUIRE(entries.size() == 3);
  CHECK(entries[0].type() == 1);
  CHECK(entries[0].reg().id() == 40);
  CHECK(entries[0].reg().name() == "/" + key_of_watcher(1));
  CHECK(entries[0].reg().fown() == "owner");
  CHECK_FALSE(entries[0].has_ify());
  CHECK(entries[1].type() == 8);
  CHECK(entries[1].has_ify());
  CHECK(entries[2].reg().name() == "/" + key_of_watcher(0));
}

TEST_CASE("each given instance is taken once, and one with other watches is not") {
  const fds::Watcher given{7, 3, 0, {{1, 10, 2, "/a"}}};
  const auto twice = with_given_watchers(
      image_of({instance(40, 0, given.watches), instance(41, 0, given.watches)}), {given});
  REQUIRE_FALSE(twice.ok());
  CHECK(twice.error().code() == ErrorCode::kRefused);
  CHECK_FALSE(with_given_watchers(image_of({instance(40, 0, {{2, 10, 2, ""}})}), {given}).ok());
  CHECK_FALSE(with_given_watchers(image_of({instance(40, 0, {{1, 10, 3, ""}})}), {given}).ok());
  CHECK_FALSE(
      with_given_watchers(image_of({instance(40, O_NONBLOCK, given.watches)}), {given}).ok());
}

TEST_CASE("descriptors of what has become a file say so") {
  std::string image = kHead;
  for (const auto& [id, type] : {std::pair{40u, 8u}, {41u, 8u}, {42u, 5u}}) {
    image::fdinfo_entry entry;
    entry.set_id(id);
    entry.set_type(type);
    add_entry(image, entry.SerializeAsString());
  }
  const auto changed = with_files_for_watchers(image, {40, 42});
  REQUIRE(changed.ok());
  std::vector<std::uint32_t> types;
  REQUIRE(for_each_entry(*changed, "descriptors", [&](std::string_view bytes) {
            image::fdinfo_entry entry;
            if (!entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
            types.push_back(entry.type());
            return true;
          }).ok());
  CHECK(types == std::vector<std::uint32_t>{1, 8, 5});
}

}  // namespace ssi::migrate
