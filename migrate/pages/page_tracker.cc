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

Result<> scan(int pagemap, PageRange range, std::uint64_t flags, std::uint64_t inverted,
              PageRanges& found) {
  std::array<ScanRegion, 1024> regions;
  ScanArgument a{};
  a.size = sizeof a;
  a.flags = flags;
  a.end = range.end;
  a.vec = reinterpret_cast<std::uint64_t>(regions.data());
  a.vec_len = regions.size();
  a.category_inverted = inverted;
  a.category_mask = kIsWpAllowed | kIsWritten | kIsZeroPage;
  a.category_anyof_mask = kIsPresent | kIsSwapped;
  a.return_mask = kIsPresent;
  for (a.start = range.begin; a.start < range.end; a.start = a.walk_end) {
    const int n = ::ioctl(pagemap, kPagemapScan, &a);
    if (n < 0) return Error::from_errno("scan its page map");
    for (int i = 0; i < n; ++i) {
      const ScanRegion& region = regions[static_cast<std::size_t>(i)];
      found.add({region.start, region.end});
    }
    if (a.walk_end <= a.start) return Error("scan its page map: no progress");
  }
  return {};
}

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

// Also what it has mapped since the last time.
Result<> PageTracker::watch_all() {
  watched_ = {};
  std::ifstream maps(proc(pid_, "maps"));
  for (std::string line; std::getline(maps, line);) {
    PageRange area;
    if (!is_private_anonymous(line, area)) continue;
    uffdio_register watch{};
    watch.range = {area.begin, area.bytes()};
    watch.mode = UFFDIO_REGISTER_MODE_WP;
    // An area that is gone meanwhile, or that the process watches itself: not ours to watch.
    if (::ioctl(*uffd_, UFFDIO_REGISTER, &watch) == 0) watched_.add(area);
  }
  if (maps.bad() || watched_.empty()) return Error(ErrorCode::kGone, "no such process");
  return {};
}

Result<PageRanges> PageTracker::take_written() {
  SSI_TRY(watch_all());
  PageRanges written;
  for (const auto& [begin, end] : watched_.ranges()) {
    SSI_TRY(scan(*pagemap_, {begin, end}, kScanWpMatching, kIsZeroPage, written));
  }
  return written;
}

Result<PageRanges> PageTracker::unwritten() const {
  PageRanges kept;
  for (const auto& [begin, end] : watched_.ranges()) {
    SSI_TRY(scan(*pagemap_, {begin, end}, 0, kIsWritten | kIsZeroPage, kept));
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
