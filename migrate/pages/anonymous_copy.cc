#include "migrate/pages/anonymous_copy.h"

#include <sys/stat.h>

#include "migrate/pages/memory_file.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kReadBytes = 64 * kPageBytes;  // stays in the cache until it was compared

PageOwner owner_of(std::uint64_t inode) { return {PageOwner::Kind::kAnonymous, inode}; }

}  // namespace

AnonymousCopy::AnonymousCopy(PageWriter::Send send) : writer_(std::move(send)), read_(kReadBytes) {}

void AnonymousCopy::add(std::uint64_t inode, UniqueFd file) {
  pieces_.emplace(inode, Piece{std::move(file)});
}

Result<> AnonymousCopy::send_news(std::uint64_t inode, const Piece& piece) {
  return for_each_data_range(*piece.file, [&](PageRange range) {
    return read_pages(*piece.file, range, read_, [&](std::uint64_t at, auto pages) {
      return writer_.write_news(owner_of(inode), at, pages);
    });
  });
}

Result<> AnonymousCopy::pass() {
  for (auto& [inode, piece] : pieces_) {
    const std::uint64_t before = writer_.sent_bytes();
    SSI_TRY(send_news(inode, piece));
    piece.sent = piece.sent || writer_.sent_bytes() > before;
  }
  return writer_.flush();
}

Result<> AnonymousCopy::finish() {
  for (const auto& [inode, piece] : pieces_) {
    if (!piece.sent) continue;
    SSI_TRY(send_news(inode, piece));
    SSI_TRY(for_each_data_range(*piece.file, [&](PageRange range) {
      kept_bytes_ += range.bytes();
      return writer_.write_kept(owner_of(inode), range);
    }));
  }
  return writer_.flush();
}

std::vector<SentMemory> AnonymousCopy::sent() const {
  std::vector<SentMemory> all;
  for (const auto& [inode, piece] : pieces_) {
    struct stat st {};
    if (piece.sent && ::fstat(*piece.file, &st) == 0) all.push_back({st.st_dev, st.st_ino});
  }
  return all;
}

}  // namespace ssi::migrate
