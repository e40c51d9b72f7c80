#include "migrate/streams/newlines.h"

namespace ssi::migrate {
namespace {

bool goes(std::string_view text, std::size_t at) {
  return text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
}

}  // namespace

std::string without_returns(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!goes(text, at)) plain += text[at];
  }
  return plain;
}

std::size_t bytes_before_returns_went(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; at < text.size() && count > 0; ++at) {
    if (!goes(text, at)) --count;
  }
  return at;
}

}  // namespace ssi::migrate
