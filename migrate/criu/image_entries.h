// Pure: an image file of criu is two magic numbers, then entries, each with its size before it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

inline constexpr std::size_t kImageHead = 8;  // two magic numbers

// Takes an entry, with its size, off the front; none: it is cut off.
std::optional<std::string_view> take_entry(std::string_view& image);
void add_entry(std::string& image, std::string_view entry);

// `each` gets each entry's bytes; false: it can't be read. `of`: what the image is of, for errors.
Result<> for_each_entry(std::string_view image, const std::string& of,
                        const std::function<bool(std::string_view entry)>& each);

// The same, and `change` may change them.
Result<std::string> change_entries(std::string_view image, const std::string& of,
                                   const std::function<bool(std::string& entry)>& change);

// Of an image that has one entry, and behind it something that is none: that entry.
Result<std::string_view> first_entry(std::string_view image, const std::string& of);

// The same image, with that entry changed.
Result<std::string> change_first_entry(std::string_view image, const std::string& of,
                                       const std::function<bool(std::string& entry)>& change);

}  // namespace ssi::migrate
