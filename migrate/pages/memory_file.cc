#include "migrate/pages/memory_file.h"

#include <unistd.h>

#include <algorithm>

namespace ssi::migrate {

Result<> for_each_data_range(int file, const std::function<Result<>(PageRange)>& see) {
  for (off_t at = 0;;) {
    at = ::lseek(file, at, SEEK_DATA);
    if (at < 0) return {};  // nothing behind it
    const off_t hole = ::lseek(file, at, SEEK_HOLE);
    if (hole <= at) return {};
    const auto end = static_cast<std::uint64_t>(hole) + kPageBytes - 1;
    SSI_TRY(see({static_cast<std::uint64_t>(at), end / kPageBytes * kPageBytes}));
    at = hole;
  }
}

Result<> read_pages(
    int file, PageRange range, std::span<std::uint8_t> buffer,
    const std::function<Result<>(std::uint64_t, std::span<const std::uint8_t>)>& see) {
  for (std::uint64_t at = range.begin; at < range.end;) {
    const std::size_t wanted = std::min<std::size_t>(buffer.size(), range.end - at);
    const ssize_t n = ::pread(file, buffer.data(), wanted, static_cast<off_t>(at));
    if (n <= 0) return {};
    auto whole = static_cast<std::size_t>(n);
    // The file ends within a page: the rest of it is zeros.
    for (; whole % kPageBytes != 0; ++whole) buffer[whole] = 0;
    SSI_TRY(see(at, buffer.first(whole)));
    at += whole;
  }
  return {};
}

}  // namespace ssi::migrate
