#include "migrate/criu/image_entries.h"

#include <cstdint>
#include <cstring>

namespace ssi::migrate {
namespace {

constexpr std::uint32_t kEntryMax = 1 << 20;

Error unreadable(const std::string& of) {
  return Error("an image of " + of + " that can't be read");
}

}  // namespace

std::optional<std::string_view> take_entry(std::string_view& image) {
  std::uint32_t size = 0;
  if (image.size() < sizeof size) return {};
  std::memcpy(&size, image.data(), sizeof size);
  image.remove_prefix(sizeof size);
  if (size > kEntryMax || size > image.size()) return {};
  const std::string_view entry = image.substr(0, size);
  image.remove_prefix(size);
  return entry;
}

void add_entry(std::string& image, std::string_view entry) {
  const auto size = static_cast<std::uint32_t>(entry.size());
  image.append(reinterpret_cast<const char*>(&size), sizeof size);
  image += entry;
}

Result<> for_each_entry(std::string_view image, const std::string& of,
                        const std::function<bool(std::string_view entry)>& each) {
  if (image.size() < kImageHead) return unreadable(of);
  image.remove_prefix(kImageHead);
  while (!image.empty()) {
    const auto entry = take_entry(image);
    if (!entry || !each(*entry)) return unreadable(of);
  }
  return {};
}

Result<std::string> change_entries(std::string_view image, const std::string& of,
                                   const std::function<bool(std::string& entry)>& change) {
  std::string changed(image.substr(0, kImageHead));
  SSI_TRY(for_each_entry(image, of, [&](std::string_view bytes) {
    std::string entry(bytes);
    if (!change(entry)) return false;
    add_entry(changed, entry);
    return true;
  }));
  return changed;
}

Result<std::string_view> first_entry(std::string_view image, const std::string& of) {
  if (image.size() < kImageHead) return unreadable(of);
  image.remove_prefix(kImageHead);
  const auto first = take_entry(image);
  if (!first) return unreadable(of);
  return *first;
}

Result<std::string> change_first_entry(std::string_view image, const std::string& of,
                                       const std::function<bool(std::string& entry)>& change) {
  SSI_ASSIGN(const std::string_view first, first_entry(image, of));
  std::string entry(first);
  if (!change(entry)) return unreadable(of);
  std::string changed(image.substr(0, kImageHead));
  add_entry(changed, entry);
  return changed.append(first.data() + first.size(), image.data() + image.size());
}

}  // namespace ssi::migrate
