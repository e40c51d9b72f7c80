#include "loadlevel/cli/line_prefixer.h"

namespace ssi::cli {
namespace {
constexpr std::size_t kLineMax = 64 << 10;
}

std::string LinePrefixer::add(std::string_view piece) {
  std::string ready;
  while (!piece.empty()) {
    const std::size_t newline = piece.find('\n');
    line_ += piece.substr(0, newline);
    piece.remove_prefix(newline == piece.npos ? piece.size() : newline + 1);
    if (newline == piece.npos && line_.size() < kLineMax) break;
    ready += prefix_ + line_ + "\n";
    line_.clear();
  }
  return ready;
}

std::string LinePrefixer::end() {
  if (line_.empty()) return "";
  std::string rest = prefix_ + line_ + "\n";
  line_.clear();
  return rest;
}

}  // namespace ssi::cli
