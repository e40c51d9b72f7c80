#include "migrate/pages/page_ranges.h"

#include <algorithm>
#include <iterator>

namespace ssi::migrate {

void PageRanges::add(PageRange range) {
  if (range.begin >= range.end) return;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second >= range.begin) {
    --it;
    range.begin = it->first;
  }
  while (it != ranges_.end() && it->first <= range.end) {
    range.end = std::max(range.end, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, range.begin, range.end);
}

void PageRanges::remove(PageRange range) {
  if (range.begin >= range.end) return;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < range.end) {
    const PageRange now{it->first, it->second};
    if (now.end <= range.begin) {
      ++it;
      continue;
    }
    it = ranges_.erase(it);
    if (now.begin < range.begin) ranges_.emplace(now.begin, range.begin);
    if (now.end > range.end) ranges_.emplace(range.end, now.end);
  }
}

PageRanges PageRanges::intersection(const PageRanges& other) const {
  PageRanges both;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const PageRange common{std::max(a->first, b->first), std::min(a->second, b->second)};
    if (common.begin < common.end) both.ranges_.emplace(common.begin, common.end);
    if (a->second < b->second) {
      ++a;
    } else {
      ++b;
    }
  }
  return both;
}

PageRanges::Piece PageRanges::first_piece(PageRange range) const {
  auto next = ranges_.upper_bound(range.begin);
  if (next != ranges_.begin() && std::prev(next)->second > range.begin) {
    return {{range.begin, std::min(range.end, std::prev(next)->second)}, true};
  }
  const std::uint64_t end = next == ranges_.end() ? range.end : std::min(range.end, next->first);
  return {{range.begin, end}, false};
}

std::uint64_t PageRanges::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [begin, end] : ranges_) sum += end - begin;
  return sum;
}

}  // namespace ssi::migrate
