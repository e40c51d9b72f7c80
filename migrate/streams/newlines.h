// Pure: what one terminal has made of newlines, undone for the next one.
#pragma once

#include <string>
#include <string_view>

namespace ssi::migrate {

// Each "\r\n" becomes "\n".
std::string without_returns(std::string_view text);

// How many bytes of `text` stand for the first `count` bytes of without_returns(text).
std::size_t bytes_before_returns_went(std::string_view text, std::size_t count);

}  // namespace ssi::migrate
