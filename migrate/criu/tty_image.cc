#include "migrate/criu/tty_image.h"

#include <cstdint>
#include <cstring>

#include "criu_images.pb.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kHead = 8;  // two magic numbers
constexpr std::uint32_t kEntryMax = 64 << 10;

}  // namespace

Result<std::string> without_sessions(std::string_view image) {
  if (image.size() < kHead) return Error("an image of terminals that is cut off");
  std::string changed(image.substr(0, kHead));
  image.remove_prefix(kHead);
  while (!image.empty()) {
    std::uint32_t size = 0;
    if (image.size() < sizeof size) return Error("an image of terminals that is cut off");
    std::memcpy(&size, image.data(), sizeof size);
    image.remove_prefix(sizeof size);
    image::tty_info_entry entry;
    if (size > kEntryMax || size > image.size() ||
        !entry.ParseFromArray(image.data(), static_cast<int>(size))) {
      return Error("an image of terminals that can't be read");
    }
    image.remove_prefix(size);
    entry.set_sid(0);
    entry.set_pgrp(0);
    const std::string bytes = entry.SerializeAsString();  // with what we do not know of it
    size = static_cast<std::uint32_t>(bytes.size());
    changed.append(reinterpret_cast<const char*>(&size), sizeof size);
    changed += bytes;
  }
  return changed;
}

}  // namespace ssi::migrate
