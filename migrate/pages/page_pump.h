// Source side: takes the page stream that a dumping criu writes, answers it as a page server would,
// and passes the bytes on to the link in large frames. Runs in a thread of its own while criu
// dumps, so that reading memory, encrypting and sending overlap.
#pragma once

#include <functional>
#include <vector>

#include "migrate/pages/page_stream.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PagePump : private PageStreamHandler {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;

  // `socket`: our end of criu's page server connection. `send` is called from run() only.
  PagePump(UniqueFd socket, Send send);

  // Until criu says that it is done, or closes its end.
  Result<> run();
  std::uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  Result<> on_open(PageOwner owner) override;
  Result<> on_run(const PageRun& run) override;
  Result<> on_data(std::span<const std::uint8_t>) override { return {}; }
  Result<> on_parent_query(PageOwner owner) override;
  Result<> on_close() override;
  Result<> answer(const void* data, std::size_t size);

  UniqueFd socket_;
  Send send_;
  PageStreamParser parser_;
  std::vector<std::uint8_t> buffer_;
  std::uint64_t memory_bytes_ = 0;
};

}  // namespace ssi::migrate
