#include "migrate/criu/fifo_image.h"

#include <doctest/doctest.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

std::string head() { return std::string(kImageHead, 'm'); }

void add(std::string& image, std::uint32_t inode, const std::string& bytes) {
  image::pipe_data_entry entry;
  entry.set_pipe_id(inode);
  entry.set_bytes(static_cast<std::uint32_t>(bytes.size()));
  entry.set_size(65536);
  add_entry(image, entry.SerializeAsString());
  image += bytes;
}

}  // namespace

TEST_CASE("what waits in each named pipe, whatever the bytes are") {
  std::string image = head();
  add(image, 7, "");
  add(image, 8, std::string(5000, '\xff'));
  add(image, 0xffffffff, "last");
  const auto waiting = what_waits_in_fifos(image);
  REQUIRE(waiting.ok());
  CHECK(*waiting == std::map<std::uint32_t, std::string>{
                        {7, ""}, {8, std::string(5000, '\xff')}, {0xffffffff, "last"}});
  CHECK(what_waits_in_fifos(head())->empty());
}

TEST_CASE("without some of them") {
  std::string image = head(), rest = head();
  add(image, 7, "seven");
  add(image, 8, "eight");
  add(rest, 8, "eight");
  CHECK(*without_fifos(image, {7}) == rest);
  CHECK(*without_fifos(image, {}) == image);
  CHECK(*without_fifos(image, {7, 8}) == head());
}

TEST_CASE("one that is cut off is an error, wherever") {
  std::string image = head();
  add(image, 7, "seven");
  for (std::size_t size = 0; size < image.size(); ++size) {
    if (size == kImageHead) continue;  // nothing waits
    CHECK_FALSE(what_waits_in_fifos(image.substr(0, size)).ok());
    CHECK_FALSE(without_fifos(image.substr(0, size), {}).ok());
  }
}

}  // namespace ssi::migrate
