#include "migrate/pages/page_tracker.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace ssi::migrate {
namespace {

// linux/fs.h and linux/userfaultfd.h as of Linux 6.7, which are younger than Debian 12's headers.
constexpr std::uint64_t kFeatureWpAsync = 1u << 15;
struct ScanArgument {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct ScanRegion {
  std::uint64_t start, end, categories;
};
constexpr auto kPagemapScan = _IOWR('f', 16, ScanArgument);
constexpr std::uint64_t kScanWpMatching = 1u << 0;
constexpr std::uint64_t kScanCheckWpAsync = 1u
                                            << 1;  // EPERM: there is a mapping that is not watched
constexpr std::uint64_t kIsWpAllowed = 1u << 0;
constexpr std::uint64_t kIsWritten = 1u << 1;
constexpr std::uint64_t kIsPresent = 1u << 3;
constexpr std::uint64_t kIsSwapped = 1u << 4;
constexpr std::uint64_t kIsZeroPage = 1u << 5;

std::string proc(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

// Private anonymous areas, by a line of /proc/PID/maps.
bool is_private_anonymous(const std::string& line, PageRange& area) {
  char permissions[5] = {};
  unsigned long inode = 0;
  int name_at = 0;
  if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %lu %n", &area.begin, &area.end, permissions,
                  &inode, &name_at) < 4) {
    return false;
  }
  const std::string name = name_at > 0 ? line.substr(static_cast<std::size_t>(name_at)) : "";
  return permissions[3] == 'p' && inode == 0 &&
         (name.empty() || name == "[heap]" || name == "[stack]" || name.starts_with("[anon:"));
}

struct Wanted {
  std::uint64_t all;                            // these, ..
  std::uint64_t inverted = 0;                   // .. but of them these not, ..
  std::uint64_t any = kIsPresent | kIsSwapped;  // .. and one of these
};

Result<> scan(int pagemap, PageRange range, std::uint64_t flags, Wanted wanted, PageRanges& found) {
  std::array<ScanRegion, 1024> regions;
  ScanArgument a{};
  a.size = sizeof a;
  a.flags = flags;
  a.end = range.end;
  a.vec = reinterpret_cast<std::uint64_t>(regions.data());
  a.vec_len = regions.size();
  a.category_inverted = wanted.inverted;
  a.category_mask = wanted.all;
  a.category_anyof_mask = wanted.any;
  a.return_mask = kIsPresent;
  for (a.start = range.begin; a.start < range.end; a.start = a.walk_end) {
    const int n = ::ioctl(pagemap, kPagemapScan, &a);
    if (n < 0 && errno == EPERM) return Error(ErrorCode::kRefused, "it is not watched");
    if (n < 0) return Error::from_errno("scan its page map");
    for (int i = 0; i < n; ++i) {
      const ScanRegion& region = regions[static_cast<std::size_t>(i)];
      found.add({region.start, region.end});
    }
    if (a.walk_end <= a.start) return Error("scan its page map: no progress");
  }
  return {};
}

// It runs: what is watched may be forgotten before it was looked at.
constexpr int kLooksMax = 6;

constexpr Wanted kWritten{.all = kIsWpAllowed | kIsWritten | kIsZeroPage, .inverted = kIsZeroPage};
constexpr Wanted kUnwritten{.all = kIsWpAllowed | kIsWritten | kIsZeroPage,
                            .inverted = kIsWritten | kIsZeroPage};
constexpr Wanted kUnwatched{.all = kIsWpAllowed, .inverted = kIsWpAllowed};

}  // namespace

Result<PageTracker> PageTracker::start(pid_t pid, const OpenUserfaultfd& open) {
  const std::string path = proc(pid, "pagemap");
  UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap) return Error::from_errno("open " + path);
  SSI_ASSIGN(UniqueFd uffd, open(pid));
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kFeatureWpAsync;
  if (::ioctl(*uffd, UFFDIO_API, &api) != 0) {
    return Error(ErrorCode::kRefused, "this kernel does not track writes (needs Linux 6.7)");
  }
  return PageTracker(pid, std::move(uffd), std::move(pagemap));
}

// Whether the kernel has ceased to watch something of what was watched.
Result<bool> PageTracker::is_lost(PageRange range) const {
  PageRanges nothing;
  auto seen = scan(*pagemap_, range, kScanCheckWpAsync, kUnwatched, nothing);
  if (!seen && seen.error().code() == ErrorCode::kRefused) return true;
  SSI_TRY(std::move(seen));
  return false;
}

// What of the area is to be watched anew: what never was, or all of it if some is not any more.
Result<PageRanges> PageTracker::unwatched(PageRange area) const {
  PageRanges fresh;
  for (PageRange rest = area; rest.begin < rest.end;) {
    const auto piece = watched_.first_piece(rest);
    rest.begin = piece.range.end;
    if (!piece.inside) {
      fresh.add(piece.range);
      continue;
    }
    SSI_ASSIGN(const bool lost, is_lost(piece.range));
    if (!lost) continue;
    fresh.add(area);
    break;
  }
  return fresh;
}

// All that is there counts as written then. What is left in the page table from an earlier watch
// would say that it was not, of pages that were written while nobody watched.
bool PageTracker::watch_anew(PageRange range) const {
  uffdio_register watch{};
  watch.range = {range.begin, range.bytes()};
  watch.mode = UFFDIO_REGISTER_MODE_WP;
  uffdio_writeprotect clean{};
  clean.range = watch.range;
  // An area that is gone meanwhile, or that the process watches itself: not ours to watch.
  return ::ioctl(*uffd_, UFFDIO_REGISTER, &watch) == 0 &&
         ::ioctl(*uffd_, UFFDIO_WRITEPROTECT, &clean) == 0;
}

// Also what it has mapped since the last time. Whether all could be.
Result<bool> PageTracker::watch_all() {
  PageRanges watched;
  bool all = true;
  std::ifstream maps(proc(pid_, "maps"));
  for (std::string line; std::getline(maps, line);) {
    PageRange area;
    if (!is_private_anonymous(line, area)) continue;
    SSI_ASSIGN(const PageRanges fresh, unwatched(area));
    watched.add(area);
    for (const auto& [begin, end] : fresh.ranges()) {
      if (watch_anew({begin, end})) continue;
      watched.remove({begin, end});
      all = false;
    }
  }
  watched_ = std::move(watched);
  if (maps.bad() || watched_.empty()) return Error(ErrorCode::kGone, "no such process");
  return all;
}

Result<PageRanges> PageTracker::take_written() {
  PageRanges written;
  bool lost = true;
  for (int i = 0; i < kLooksMax && lost; ++i) {
    SSI_ASSIGN(const bool all, watch_all());
    lost = !all;
    for (const auto& [begin, end] : watched_.ranges()) {
      SSI_TRY(scan(*pagemap_, {begin, end}, kScanWpMatching, kWritten, written));
      SSI_ASSIGN(const bool lost_here, is_lost({begin, end}));
      lost = lost || lost_here;
    }
  }
  return written;
}

Result<PageRanges> PageTracker::unwritten() const {
  PageRanges kept;
  for (const auto& [begin, end] : watched_.ranges()) {
    SSI_TRY(scan(*pagemap_, {begin, end}, 0, kUnwritten, kept));
  }
  return kept;
}

std::string blind_spot(pid_t pid) {
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(proc(pid, "fdinfo"), ec)) {
    std::ifstream info(entry.path());
    for (std::string line; std::getline(info, line);) {
      if (!line.starts_with("flags:")) continue;
      if ((std::strtoul(line.c_str() + 6, nullptr, 8) & O_DIRECT) != 0) {
        return "descriptor " + entry.path().filename().string() + " is open for direct I/O";
      }
      break;
    }
  }
  if (ec) return "its descriptors can't be seen";
  std::ifstream maps(proc(pid, "maps"));
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/[aio]") != std::string::npos) return "it uses asynchronous I/O";
  }
  return "";
}

}  // namespace ssi::migrate
