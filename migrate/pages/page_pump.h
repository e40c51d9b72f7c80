// Source side: takes the page stream that a dumping criu writes, answers it as a page server would,
// and passes it on to the link in large frames. Pages that the target has already and that were not
// written since become runs without data; their bytes are thrown away inside the kernel. Runs in a
// thread of its own while criu dumps, so that reading memory, encrypting and sending overlap.
//
// Of a unit of several processes it is known by content only what the target has: there each page
// is read and compared.
#pragma once

#include <functional>
#include <vector>

#include "migrate/pages/page_ranges.h"
#include "migrate/pages/page_stream.h"
#include "migrate/pages/sent_pages.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PagePump : private PageStreamHandler {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;

  // `socket`: our end of criu's page server connection. `send` is called from run() only.
  // `at_target`: pages of the process `owner` that need not be sent.
  PagePump(UniqueFd socket, PageOwner owner, PageRanges at_target, Send send);
  // `at_target`: what was sent of all that move, by content; stays the caller's.
  PagePump(UniqueFd socket, SentPages& at_target, Send send);

  // Until criu says that it is done, or closes its end.
  Result<> run();
  // What the process has, and what of it was sent from here.
  std::uint64_t memory_bytes() const { return memory_bytes_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  Result<> on_open(PageOwner owner) override;
  Result<> on_run(const PageRun& run) override;
  Result<> on_data(std::span<const std::uint8_t>) override { return {}; }
  Result<> on_parent_query(PageOwner owner) override;
  Result<> on_close() override;

  Result<> answer(const void* data, std::size_t size);
  Result<> receive(std::uint8_t* to, std::size_t bytes);
  Result<> append(const PageHeader& header);
  Result<> pass_on(const PageRun& run);
  Result<> pass_on_news(const PageRun& run);
  Result<> append_piece(const PageRun& piece, std::span<const std::uint8_t> data);
  Result<> copy(std::uint64_t bytes);
  Result<> discard(std::uint64_t bytes);
  Result<> flush();

  UniqueFd socket_;
  PageOwner copied_;
  PageRanges at_target_;
  SentPages* const sent_pages_ = nullptr;
  std::vector<std::uint8_t> compared_;
  Send send_;
  PageStreamParser parser_;
  PageOwner owner_;
  PageRun run_;
  UniqueFd pipe_[2];
  UniqueFd null_;
  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = 0;
  std::uint64_t memory_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace ssi::migrate
