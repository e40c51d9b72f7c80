// Writes a page stream (page_stream.h) into large frames, and of pages that are shown to it only
// those whose content the target lacks. Owned by one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "migrate/pages/page_stream.h"
#include "migrate/pages/sent_pages.h"

namespace ssi::migrate {

class PageWriter {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;
  explicit PageWriter(Send send);

  // Whole pages, from `address` on. An error: the link is broken.
  Result<> write_news(PageOwner owner, std::uint64_t address, std::span<const std::uint8_t> pages);
  // The target has all of these by now, and they are still there.
  Result<> write_kept(PageOwner owner, PageRange pages);
  // Between two of these the stream is this writer's; after it another one may go on with it.
  Result<> flush();

  // What the target has.
  SentPages& sent() { return sent_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  Result<> append(PageOwner owner, std::uint64_t address, std::span<const std::uint8_t> pages);
  Result<> append_header(PageOwner owner, const PageRun& run);
  void put(const void* data, std::size_t size);
  Result<> send_frame();

  Send send_;
  SentPages sent_;
  std::optional<PageOwner> open_;  // the last one named in the stream
  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace ssi::migrate
