#include "loadlevel/tracker/enablement.h"

#include <charconv>

namespace ssi {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

// Control characters, blanks and % as %XX: a line stays a line, and a word a word.
std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f || c == '%') {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size()) return {};
    const auto [end, err] = std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
    if (err != std::errc{} || end != text.data() + i + 3) return {};
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

}  // namespace

std::string Enablement::reason() const {
  std::string text;
  switch (source) {
    case Source::kUser:
      text = on ? "enabled" : pinned ? "pinned" : "disabled";
      text += " by uid " + std::to_string(by_uid);
      break;
    case Source::kInherited:
      text = "inherited from " + from;
      break;
    case Source::kList:
      text = "on the list: " + from;
      break;
  }
  return text;
}

std::string Enablement::to_line() const {
  std::string line = on ? "on " : pinned ? "pinned " : "off ";
  switch (source) {
    case Source::kUser:
      line += "user ";
      break;
    case Source::kInherited:
      line += "inherited ";
      break;
    case Source::kList:
      line += "list ";
      break;
  }
  return line + (arrived ? "arrived " : "here ") + std::to_string(by_uid) + " =" + escape(from);
}

std::optional<Enablement> Enablement::from_line(std::string_view line) {
  const auto word = [&] {
    const auto w = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(w.size() + 1, line.size()));
    return w;
  };
  Enablement e;
  const auto on = word();
  const auto source = word();
  const auto where = word();
  const auto uid = word();
  if (on != "on" && on != "off" && on != "pinned") return {};
  e.on = on == "on";
  e.pinned = on == "pinned";
  if (source == "user") {
    e.source = Source::kUser;
  } else if (source == "inherited") {
    e.source = Source::kInherited;
  } else if (source == "list") {
    e.source = Source::kList;
  } else {
    return {};
  }
  if (where != "arrived" && where != "here") return {};
  e.arrived = where == "arrived";
  const auto [end, err] = std::from_chars(uid.data(), uid.data() + uid.size(), e.by_uid);
  if (uid.empty() || err != std::errc{} || end != uid.data() + uid.size()) return {};
  if (!line.starts_with('=') || line.find(' ') != std::string_view::npos) return {};
  auto from = unescape(line.substr(1));
  if (!from) return {};
  e.from = std::move(*from);
  return e;
}

}  // namespace ssi
