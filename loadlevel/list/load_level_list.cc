#include "loadlevel/list/load_level_list.h"

#include <algorithm>
#include <climits>

namespace ssi {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// The part of a line that says something: without comment and blanks around. A # begins a comment
// at the start of a line or after a blank, so that it may be part of a path.
std::string_view content_of(std::string_view line) {
  for (std::size_t at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1)) {
    if (at == 0 || kBlanks.find(line[at - 1]) != std::string_view::npos) {
      line = line.substr(0, at);
      break;
    }
  }
  const auto begin = line.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kBlanks) - begin + 1);
}

// Calls visit(number, line with its newline).
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end == std::string_view::npos ? end : end + 1);
    visit(number, line);
    text.remove_prefix(line.size());
  }
}

std::string_view without_newline(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  return line;
}

// For messages: what is not printable must not steer a terminal.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 200)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  if (text.size() > 200) out += "...";
  return out;
}

}  // namespace

Result<std::string> normal_path(std::string_view path) {
  const auto bad = [&](const char* why) {
    return Error(ErrorCode::kUsage, "`" + printable(path) + "`: " + why);
  };
  if (path.empty() || path.front() != '/') return bad("not an absolute path");
  if (path.size() >= PATH_MAX) return bad("too long for a path");
  std::string normal;
  std::string_view rest = path;
  while (!rest.empty()) {
    const auto begin = rest.find_first_not_of('/');
    if (begin == std::string_view::npos) break;
    rest.remove_prefix(begin);
    const auto part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    if (part == ".") continue;
    if (part == "..") return bad("contains `..`");
    normal += '/';
    normal += part;
  }
  if (normal.empty()) return bad("not a program");
  if (path.back() == '/') return bad("a directory, not a program");
  for (const char c : normal) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return bad("contains a control character");
  }
  return normal;
}

LoadLevelList LoadLevelList::parse(std::string_view text) {
  LoadLevelList list;
  list.text_ = text;
  for_each_line(text, [&](std::size_t number, std::string_view line) {
    const auto content = content_of(without_newline(line));
    if (content.empty()) return;
    const auto problem = [&](const std::string& what) {
      list.problems_.push_back({number, "line " + std::to_string(number) + ": " + what});
    };
    const auto path = normal_path(content);
    if (!path) {
      problem(path.error().message());
    } else if (list.contains(*path)) {
      problem("`" + *path + "`: there already");
    } else {
      list.paths_.push_back(*path);
    }
  });
  return list;
}

bool LoadLevelList::contains(std::string_view path) const {
  return std::find(paths_.begin(), paths_.end(), path) != paths_.end();
}

Result<LoadLevelList> LoadLevelList::add(std::string_view path) const {
  SSI_ASSIGN(const auto normal, normal_path(path));
  if (contains(normal)) return Error(ErrorCode::kUsage, "`" + normal + "`: on the list already");
  // What a parse would not read back as this path can't be written to the file.
  if (content_of(normal) != normal) {
    return Error(ErrorCode::kUsage,
                 "`" + printable(path) + "`: has a # or a blank where none may be");
  }
  std::string text = text_;
  if (!text.empty() && text.back() != '\n') text += '\n';
  return parse(text + normal + '\n');
}

Result<LoadLevelList> LoadLevelList::remove(std::string_view path) const {
  SSI_ASSIGN(const auto normal, normal_path(path));
  if (!contains(normal)) return Error(ErrorCode::kUsage, "`" + normal + "`: not on the list");
  std::string text;
  for_each_line(text_, [&](std::size_t, std::string_view line) {
    const auto found = normal_path(content_of(without_newline(line)));
    if (!found || *found != normal) text += line;
  });
  return parse(text);
}

}  // namespace ssi
