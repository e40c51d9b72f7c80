#include "migrate/pages/pagemap_scan.h"

#include <sys/ioctl.h>

#include <array>

namespace ssi::migrate::pagemap {
namespace {

struct Argument {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct Region {
  std::uint64_t start, end, categories;
};
constexpr auto kPagemapScan = _IOWR('f', 16, Argument);

}  // namespace

Result<> scan(int pagemap, PageRange range, std::uint64_t flags, Wanted wanted, PageRanges& found) {
  std::array<Region, 1024> regions;
  Argument a{};
  a.size = sizeof a;
  a.flags = flags;
  a.end = range.end;
  a.vec = reinterpret_cast<std::uint64_t>(regions.data());
  a.vec_len = regions.size();
  a.category_inverted = wanted.inverted;
  a.category_mask = wanted.all;
  a.category_anyof_mask = wanted.any;
  a.return_mask = kPresent;
  for (a.start = range.begin; a.start < range.end; a.start = a.walk_end) {
    const int n = ::ioctl(pagemap, kPagemapScan, &a);
    if (n < 0 && errno == EPERM) return Error(ErrorCode::kRefused, "it is not watched");
    if (n < 0) return Error::from_errno("scan its page map");
    for (int i = 0; i < n; ++i) {
      const Region& region = regions[static_cast<std::size_t>(i)];
      found.add({region.start, region.end});
    }
    if (a.walk_end <= a.start) return Error("scan its page map: no progress");
  }
  return {};
}

}  // namespace ssi::migrate::pagemap
