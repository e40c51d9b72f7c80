#include "ssid/base/ids.h"

#include <charconv>

namespace ssi {
namespace {

template <typename T>
bool parse_number(std::string_view text, T& out) {
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc{} && end == text.data() + text.size();
}

}  // namespace

Result<SsiPid> SsiPid::parse(std::string_view text, NodeId here) {
  const Error bad(ErrorCode::kUsage, "'" + std::string(text) + "' is not a process id");
  SsiPid p;
  if (auto colon = text.find(':'); colon != std::string_view::npos) {
    if (!parse_number(text.substr(0, colon), p.home.value) || !p.home) return bad;
    text.remove_prefix(colon + 1);
  }
  if (!parse_number(text, p.pid) || p.pid <= 0) return bad;
  if (!p.home) {
    const auto range = static_cast<std::uint32_t>(p.pid / kPidsPerNode);
    p.home = range == 0 ? here : NodeId{range};
  }
  return p;
}

}  // namespace ssi
