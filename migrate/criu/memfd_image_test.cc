#include "migrate/criu/memfd_image.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

image::memfd_inode_entry memory(std::uint32_t id, const std::string& name = kAnonymousMemfdName) {
  image::memfd_inode_entry entry;
  entry.set_name(name);
  entry.set_uid(7);
  entry.set_gid(8);
  entry.set_size(1 << 20);
  entry.set_shmid(id);
  entry.set_seals(F_SEAL_SEAL);
  entry.set_inode_id(id);
  return entry;
}

std::string image_of(const std::vector<image::memfd_inode_entry>& entries) {
  std::string image(kImageHead, 'h');
  for (const auto& entry : entries) add_entry(image, entry.SerializeAsString());
  return image;
}

}  // namespace

TEST_CASE("memory that is given is named so; all else stays as it is") {
  const auto image = image_of({memory(5), memory(6), memory(7, "mine")});
  const auto changed = with_given_memory(image, {{6, 12}});
  REQUIRE(changed);
  std::string name = "ssid-given:12";
  name.resize(300, '.');
  CHECK(::memfd_create(name.c_str(), 0) < 0);
  const auto given = memory(6, name);
  CHECK(*changed == image_of({memory(5), given, memory(7, "mine")}));
  CHECK(*with_given_memory(image, {}) == image);
}

TEST_CASE("what is not there, or is not anonymous, is no memory to be given") {
  const auto image = image_of({memory(5), memory(7, "mine")});
  CHECK_FALSE(with_given_memory(image, {{6, 12}}));
  CHECK_FALSE(with_given_memory(image, {{7, 12}}));
  auto sealed = memory(5);
  sealed.set_seals(F_SEAL_SHRINK);
  CHECK_FALSE(with_given_memory(image_of({sealed}), {{5, 12}}));
  auto huge = memory(5);
  huge.set_hugetlb_flag(4);
  CHECK_FALSE(with_given_memory(image_of({huge}), {{5, 12}}));
  CHECK_FALSE(with_given_memory(image.substr(0, image.size() - 1), {{5, 12}}));
}
