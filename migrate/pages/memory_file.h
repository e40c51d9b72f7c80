// A file in memory (tmpfs, memfd) as its reader sees it. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "migrate/pages/page_ranges.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

// Where it has pages: the rest are holes, and reads as zeros. Stops at the first error of `see`.
Result<> for_each_data_range(int file, const std::function<Result<>(PageRange)>& see);

// These pages, in pieces, by way of `buffer`; fewer if the file ends.
Result<> read_pages(
    int file, PageRange range, std::span<std::uint8_t> buffer,
    const std::function<Result<>(std::uint64_t, std::span<const std::uint8_t>)>& see);

}  // namespace ssi::migrate
