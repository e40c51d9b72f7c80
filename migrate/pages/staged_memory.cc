#include "migrate/pages/staged_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>

#include "migrate/criu/memfd_image.h"

namespace ssi::migrate {
namespace {

constexpr std::uint64_t kAddressMax = std::uint64_t{1} << 47;

}  // namespace

Result<StagedMemory> StagedMemory::create(std::uint64_t bytes_max, Layout layout) {
  const char* const name = layout == Layout::kAsItIs ? kAnonymousMemfdName : "ssid-staged-memory";
  UniqueFd data(::memfd_create(name, MFD_CLOEXEC));
  if (!data) return Error::from_errno("memory for a process");
  return StagedMemory(std::move(data), bytes_max, layout);
}

bool StagedMemory::covers(PageRange range) const {
  if (layout_ == Layout::kAsItComes) return map_.covers(range);
  if (range.bytes() == 0) return true;
  const auto first = here_.first_piece(range);
  return first.inside && first.range == range;
}

std::vector<StagedPiece> StagedMemory::find(PageRange range) const {
  if (layout_ == Layout::kAsItComes) return map_.find(range);
  std::vector<StagedPiece> found;
  PageRanges asked;
  asked.add(range);
  const PageRanges common = here_.intersection(asked);
  for (const auto& [begin, end] : common.ranges()) {
    found.push_back({{begin, end}, begin});
  }
  return found;
}

Result<> StagedMemory::begin(PageRange range) {
  if (range.bytes() > bytes_max_) return Error("it is larger than was offered");
  if (layout_ == Layout::kAsItIs) {
    if (range.end > kAddressMax) return Error("memory beyond what a file can have");
    here_.add(range);
    next_ = {{range, range.begin}};
  } else {
    next_ = map_.place(range);
    std::reverse(next_.begin(), next_.end());
  }
  if (file_bytes() > bytes_max_) return Error("it is larger than was offered");
  return {};
}

Result<> StagedMemory::add(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    if (next_.empty()) return Error("more memory than was announced");
    StagedPiece& piece = next_.back();
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), piece.pages.bytes()));
    const ssize_t n = ::pwrite(*data_, bytes.data(), wanted, static_cast<off_t>(piece.offset));
    if (n <= 0) return Error::from_errno("keep memory for a process");
    piece.pages.begin += static_cast<std::uint64_t>(n);
    piece.offset += static_cast<std::uint64_t>(n);
    if (piece.pages.bytes() == 0) next_.pop_back();
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<> StagedMemory::keep(PageRange range) {
  if (!covers(range)) return Error("memory that was sent before the freeze is missing");
  kept_.add(range);
  return {};
}

Result<> StagedMemory::copy_to(int file, PageRange range) const {
  if (!covers(range)) return Error("memory that was sent before the freeze is missing");
  for (const StagedPiece& piece : find(range)) {
    off_t at = static_cast<off_t>(piece.offset);
    for (std::uint64_t left = piece.pages.bytes(); left > 0;) {
      const ssize_t n = ::sendfile(file, *data_, &at, left);
      if (n <= 0) return Error::from_errno("copy memory that was sent before the freeze");
      left -= static_cast<std::uint64_t>(n);
    }
  }
  return {};
}

Result<> StagedMemory::read(std::uint64_t address, std::span<char> page) const {
  const auto found = find({address, address + page.size()});
  if (found.size() != 1 ||
      ::pread(*data_, page.data(), page.size(), static_cast<off_t>(found[0].offset)) < 0) {
    return Error("no such page");
  }
  return {};
}

Result<> StagedMemory::drop_others() {
  PageRanges others = here_;
  for (const auto& [begin, end] : kept_.ranges()) others.remove({begin, end});
  for (const auto& [begin, end] : others.ranges()) {
    if (::fallocate(*data_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                    static_cast<off_t>(end - begin)) != 0) {
      return Error::from_errno("drop memory that is not there any more");
    }
    here_.remove({begin, end});
  }
  return {};
}

Result<UniqueFd> StagedMemory::make_index() const {
  UniqueFd index(::memfd_create("ssid-staged-index", MFD_CLOEXEC));
  if (!index) return Error::from_errno("index of memory");
  std::vector<StagedPiece> pieces;
  for (const auto& [begin, end] : kept_.ranges()) {
    for (const StagedPiece& piece : find({begin, end})) pieces.push_back(piece);
  }
  const std::size_t bytes = pieces.size() * sizeof(StagedPiece);
  if (::write(*index, pieces.data(), bytes) != static_cast<ssize_t>(bytes)) {
    return Error::from_errno("write the index of memory");
  }
  return index;
}

}  // namespace ssi::migrate
