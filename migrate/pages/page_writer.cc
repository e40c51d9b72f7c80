#include "migrate/pages/page_writer.h"

#include <algorithm>
#include <cstring>

namespace ssi::migrate {
namespace {
constexpr std::size_t kFrameBytes = 1u << 20;
}  // namespace

PageWriter::PageWriter(Send send) : send_(std::move(send)), buffer_(kFrameBytes) {}

Result<> PageWriter::write_news(PageOwner owner, std::uint64_t address,
                                std::span<const std::uint8_t> pages) {
  std::size_t news = 0;  // that end right before `at`
  for (std::size_t at = 0; at < pages.size(); at += kPageBytes) {
    if (sent_.is_news(owner, address + at, pages.data() + at)) {
      news += kPageBytes;
      continue;
    }
    SSI_TRY(append(owner, address + at - news, pages.subspan(at - news, news)));
    news = 0;
  }
  return append(owner, address + pages.size() - news, pages.last(news));
}

Result<> PageWriter::write_kept(PageOwner owner, PageRange pages) {
  return append_header(owner, {pages.begin, pages.bytes() / kPageBytes, 0});
}

Result<> PageWriter::append(PageOwner owner, std::uint64_t address,
                            std::span<const std::uint8_t> pages) {
  if (pages.empty()) return {};
  SSI_TRY(append_header(owner, {address, pages.size() / kPageBytes, PageRun::kPresent}));
  sent_bytes_ += pages.size();
  while (!pages.empty()) {
    if (used_ == buffer_.size()) SSI_TRY(send_frame());
    const std::size_t n = std::min(pages.size(), buffer_.size() - used_);
    put(pages.data(), n);
    pages = pages.subspan(n);
  }
  return {};
}

Result<> PageWriter::append_header(PageOwner owner, const PageRun& run) {
  if (buffer_.size() - used_ < 2 * PageStreamParser::kHeaderBytes) SSI_TRY(send_frame());
  if (open_ != owner) {
    const PageHeader open = open_header(owner);
    put(open.data(), open.size());
    open_ = owner;
  }
  const PageHeader header = run_header(owner, run);
  put(header.data(), header.size());
  return {};
}

void PageWriter::put(const void* data, std::size_t size) {
  std::memcpy(buffer_.data() + used_, data, size);
  used_ += size;
}

Result<> PageWriter::flush() {
  open_.reset();
  return send_frame();
}

Result<> PageWriter::send_frame() {
  if (used_ > 0) SSI_TRY(send_({buffer_.data(), used_}));
  used_ = 0;
  return {};
}

}  // namespace ssi::migrate
