// Which pages a process has, and of which kinds: ioctl(PAGEMAP_SCAN) on /proc/PID/pagemap, since
// Linux 6.7. The numbers are those of its linux/fs.h, which is younger than Debian 12's headers.
#pragma once

#include <cstdint>

#include "migrate/pages/page_ranges.h"
#include "ssid/base/result.h"

namespace ssi::migrate::pagemap {

// Flags of a scan.
inline constexpr std::uint64_t kWpMatching = 1u << 0;    // write-protect what is found
inline constexpr std::uint64_t kCheckWpAsync = 1u << 1;  // kRefused: some of it is not watched
// Kinds of pages.
inline constexpr std::uint64_t kWpAllowed = 1u << 0;
inline constexpr std::uint64_t kWritten = 1u << 1;
inline constexpr std::uint64_t kFile = 1u << 2;
inline constexpr std::uint64_t kPresent = 1u << 3;
inline constexpr std::uint64_t kSwapped = 1u << 4;
inline constexpr std::uint64_t kZeroPage = 1u << 5;

struct Wanted {
  std::uint64_t all;                        // these, ..
  std::uint64_t inverted = 0;               // .. but of them these not, ..
  std::uint64_t any = kPresent | kSwapped;  // .. and one of these
};

// Adds what it finds in `range`. Any thread.
Result<> scan(int pagemap, PageRange range, std::uint64_t flags, Wanted wanted, PageRanges& found);

}  // namespace ssi::migrate::pagemap
