#include "migrate/criu/fifo_image.h"

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

// each(entry, its bytes as they stand in the image, head and all)
template <typename Each>
Result<> for_each_fifo(std::string_view image, const Each& each) {
  const Error unreadable("an image of named pipes that can't be read");
  if (image.size() < kImageHead) return unreadable;
  image.remove_prefix(kImageHead);
  while (!image.empty()) {
    const std::string_view whole = image;
    const auto bytes = take_entry(image);
    image::pipe_data_entry entry;
    if (!bytes || !entry.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())) ||
        entry.bytes() > image.size()) {
      return unreadable;
    }
    image.remove_prefix(entry.bytes());
    each(entry, whole.substr(0, whole.size() - image.size()));
  }
  return {};
}

}  // namespace

Result<std::map<std::uint32_t, std::string>> what_waits_in_fifos(std::string_view image) {
  std::map<std::uint32_t, std::string> waiting;
  SSI_TRY(for_each_fifo(image, [&](const image::pipe_data_entry& entry, std::string_view whole) {
    waiting[entry.pipe_id()] = whole.substr(whole.size() - entry.bytes());
  }));
  return waiting;
}

Result<std::string> without_fifos(std::string_view image, const std::set<std::uint32_t>& inodes) {
  std::string rest(image.substr(0, kImageHead));
  SSI_TRY(for_each_fifo(image, [&](const image::pipe_data_entry& entry, std::string_view whole) {
    if (!inodes.contains(entry.pipe_id())) rest += whole;
  }));
  return rest;
}

}  // namespace ssi::migrate
