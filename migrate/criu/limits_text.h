// /proc/PID/limits, as the kernel writes it: a line of titles, then one for each resource, in the
// order of their numbers. Pure; without the library of C++, for calls_of_criu.cc.
#pragma once

#include <sys/resource.h>

#include <string_view>

namespace ssi::migrate {

// Both limits of one resource; false: they are not there.
constexpr bool limits_in(std::string_view text, unsigned resource, rlimit64& limits) {
  constexpr std::size_t kNameColumns = 26;  // "Max cpu time             "
  constexpr std::string_view kUnlimited = "unlimited";
  for (unsigned line = 0; line <= resource; ++line) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return false;
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (!text.starts_with("Max ") || text.size() < kNameColumns) return false;
  text.remove_prefix(kNameColumns);
  for (rlim64_t* const limit : {&limits.rlim_cur, &limits.rlim_max}) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    if (text.starts_with(kUnlimited)) {
      *limit = RLIM64_INFINITY;
      text.remove_prefix(kUnlimited.size());
      continue;
    }
    if (text.empty() || text[0] < '0' || text[0] > '9') return false;
    *limit = 0;
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1)) {
      *limit = *limit * 10 + static_cast<rlim64_t>(text[0] - '0');
    }
  }
  return true;
}

}  // namespace ssi::migrate
