// Source side, before the freeze: sends the memory of the running process, again and again what it
// has written meanwhile, until little is left. What is sent here need not be sent while it stands
// still.
//
// Owned by one mover's thread.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "migrate/pages/page_stream.h"
#include "migrate/pages/page_tracker.h"

namespace ssi::migrate {

class EarlyCopy {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;

  // `pid` in our PID namespace; `owner` as criu will call it.
  EarlyCopy(pid_t pid, PageOwner owner, OpenUserfaultfd open, Send send);

  // An error: the link is broken, or the process is gone. That its memory can't be watched is none:
  // then nothing was sent, and why_not() says why.
  Result<> run();
  const std::string& why_not() const { return why_not_; }
  std::uint64_t sent_bytes() const { return sent_bytes_; }

  // Of the frozen process: what was sent and not written since.
  PageRanges unchanged() const;

 private:
  Result<> send_pages(const PageRanges& pages);
  Result<> flush();

  pid_t pid_;
  PageOwner owner_;
  OpenUserfaultfd open_;
  Send send_;
  std::optional<PageTracker> tracker_;
  PageRanges sent_;
  std::string why_not_;
  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace ssi::migrate
