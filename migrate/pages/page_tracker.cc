#include "migrate/pages/page_tracker.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "migrate/pages/pagemap_scan.h"

namespace ssi::migrate {
namespace {

constexpr std::uint64_t kFeatureWpAsync = 1u << 15;  // linux/userfaultfd.h as of Linux 6.7

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

// It runs: what is watched may be forgotten before it was looked at.
constexpr int kLooksMax = 6;

using pagemap::Wanted;
constexpr Wanted kWritten{.all = pagemap::kWpAllowed | pagemap::kWritten | pagemap::kZeroPage,
                          .inverted = pagemap::kZeroPage};
constexpr Wanted kUnwritten{.all = pagemap::kWpAllowed | pagemap::kWritten | pagemap::kZeroPage,
                            .inverted = pagemap::kWritten | pagemap::kZeroPage};
constexpr Wanted kUnwatched{.all = pagemap::kWpAllowed, .inverted = pagemap::kWpAllowed};

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
  auto seen = pagemap::scan(*pagemap_, range, pagemap::kCheckWpAsync, kUnwatched, nothing);
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
      SSI_TRY(pagemap::scan(*pagemap_, {begin, end}, pagemap::kWpMatching, kWritten, written));
      SSI_ASSIGN(const bool lost_here, is_lost({begin, end}));
      lost = lost || lost_here;
    }
  }
  return written;
}

Result<PageRanges> PageTracker::unwritten() const {
  PageRanges kept;
  for (const auto& [begin, end] : watched_.ranges()) {
    SSI_TRY(pagemap::scan(*pagemap_, {begin, end}, 0, kUnwritten, kept));
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
