#include "migrate/pages/early_copy.h"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>

namespace ssi::migrate {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr int kPassesMax = 6;
// So little that the freeze is not made noticeably longer by it.
constexpr std::uint64_t kEnoughBytes = 1u << 20;

}  // namespace

EarlyCopy::EarlyCopy(pid_t pid, PageOwner owner, OpenUserfaultfd open, Send send)
    : pid_(pid),
      owner_(owner),
      open_(std::move(open)),
      send_(std::move(send)),
      buffer_(kFrameBytes) {}

Result<> EarlyCopy::run() {
  why_not_ = blind_spot(pid_);
  if (!why_not_.empty()) return {};
  auto tracker = PageTracker::start(pid_, open_);
  if (!tracker) {
    if (tracker.error().code() == ErrorCode::kGone) return std::move(tracker).error();
    why_not_ = tracker.error().message();
    return {};
  }
  tracker_.emplace(std::move(*tracker));
  const PageHeader open = open_header(owner_);
  std::memcpy(buffer_.data(), open.data(), open.size());
  used_ = open.size();
  std::uint64_t before = ~std::uint64_t{0};
  for (int pass = 0; pass < kPassesMax; ++pass) {
    SSI_ASSIGN(const PageRanges written, tracker_->take_written());
    SSI_TRY(send_pages(written));
    // It writes as fast as we send: more passes would not help.
    if (written.bytes() <= kEnoughBytes || written.bytes() > before / 2) break;
    before = written.bytes();
  }
  return flush();
}

PageRanges EarlyCopy::unchanged() const {
  if (!tracker_ || !blind_spot(pid_).empty()) return {};
  auto unwritten = tracker_->unwritten();
  return unwritten ? unwritten->intersection(sent_) : PageRanges();
}

// The pages were taken (write-protected) before they are read here, so what is written from now on
// counts as written.
Result<> EarlyCopy::send_pages(const PageRanges& pages) {
  for (const auto& [begin, end] : pages.ranges()) {
    for (std::uint64_t at = begin; at < end;) {
      if (buffer_.size() - used_ < PageStreamParser::kHeaderBytes + kPageBytes) SSI_TRY(flush());
      const std::size_t room =
          (buffer_.size() - used_ - PageStreamParser::kHeaderBytes) / kPageBytes * kPageBytes;
      const std::size_t wanted = std::min<std::size_t>(room, end - at);
      std::uint8_t* const data = buffer_.data() + used_ + PageStreamParser::kHeaderBytes;
      const iovec here{data, wanted};
      const iovec there{reinterpret_cast<void*>(at), wanted};
      const ssize_t n = ::process_vm_readv(pid_, &here, 1, &there, 1, 0);
      if (n < 0 && errno == ESRCH) return Error(ErrorCode::kGone, "no such process");
      const std::size_t got =
          n > 0 ? static_cast<std::size_t>(n) / kPageBytes * kPageBytes : std::size_t{0};
      if (got == 0) {  // not there any more, or not readable: what was sent of it is old
        sent_.remove({at, at + kPageBytes});
        at += kPageBytes;
        continue;
      }
      const PageHeader header =
          run_header(owner_, {at, got / kPageBytes, PageRun::kPresent | PageRun::kLazy});
      std::memcpy(buffer_.data() + used_, header.data(), header.size());
      used_ += header.size() + got;
      sent_.add({at, at + got});
      sent_bytes_ += got;
      at += got;
    }
  }
  return {};
}

Result<> EarlyCopy::flush() {
  if (used_ > 0) SSI_TRY(send_({buffer_.data(), used_}));
  used_ = 0;
  return {};
}

}  // namespace ssi::migrate
