#include "migrate/fds/inotify.h"

#include <algorithm>

namespace ssi::fds {

std::size_t watches_in(std::string_view fdinfo) {
  std::size_t count = 0;
  while (!fdinfo.empty()) {
    const std::string_view line = fdinfo.substr(0, fdinfo.find('\n'));
    if (line.starts_with("inotify wd:")) ++count;
    fdinfo.remove_prefix(std::min(line.size() + 1, fdinfo.size()));
  }
  return count;
}

std::optional<std::string> inotify_why_not(std::size_t watches, int unread_bytes) {
  if (watches > 0) return "with watches, which would miss what happens while it moves";
  if (unread_bytes != 0) return "with events that it has not read";
  return {};
}

}  // namespace ssi::fds
