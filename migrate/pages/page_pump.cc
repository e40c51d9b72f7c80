#include "migrate/pages/page_pump.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace ssi::migrate {
namespace {
constexpr std::size_t kFrameBytes = 1u << 20;
constexpr std::uint64_t kComparedBytes = 64 * kPageBytes;  // at a time: stays in the cache

void enlarge_buffer(int socket) {
  const int bytes = 4 << 20;
  ::setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
}
}  // namespace

PagePump::PagePump(UniqueFd socket, PageOwner owner, PageRanges at_target, Send send)
    : socket_(std::move(socket)),
      copied_(owner),
      at_target_(std::move(at_target)),
      send_(std::move(send)),
      parser_(*this),
      buffer_(kFrameBytes) {
  enlarge_buffer(*socket_);
  int ends[2];
  if (at_target_.empty() || ::pipe2(ends, O_CLOEXEC) != 0) return;
  pipe_[0] = UniqueFd(ends[0]);
  pipe_[1] = UniqueFd(ends[1]);
  ::fcntl(ends[1], F_SETPIPE_SZ, kFrameBytes);
  null_ = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
}

PagePump::PagePump(UniqueFd socket, SentPages& at_target, Send send)
    : socket_(std::move(socket)),
      sent_pages_(&at_target),
      compared_(kComparedBytes),
      send_(std::move(send)),
      parser_(*this),
      buffer_(kFrameBytes) {
  enlarge_buffer(*socket_);
}

Result<> PagePump::run() {
  while (!parser_.closed()) {
    PageHeader header;
    SSI_TRY(receive(header.data(), header.size()));
    run_ = {};
    SSI_TRY(parser_.feed(header));
    if (run_.pages > 0) {
      SSI_TRY(pass_on(run_));
    } else {
      SSI_TRY(append(header));
    }
  }
  return flush();
}

Result<> PagePump::pass_on(const PageRun& run) {
  if (!run.has_data()) return append(run_header(owner_, run));
  memory_bytes_ += run.range().bytes();
  if (sent_pages_ != nullptr) return pass_on_news(run);
  const bool maybe_there = owner_ == copied_ && run.lazy();
  PageRange rest = run.range();
  while (rest.begin < rest.end) {
    auto [part, there] = at_target_.first_piece(rest);
    if (!maybe_there) {
      part = rest;
      there = false;
    }
    PageRun piece{part.begin, part.bytes() / kPageBytes, run.flags};
    if (there) piece.flags &= ~PageRun::kPresent;
    SSI_TRY(append(run_header(owner_, piece)));
    SSI_TRY(there ? discard(part.bytes()) : copy(part.bytes()));
    rest.begin = part.end;
  }
  parser_.pass(run.range().bytes());
  return {};
}

Result<> PagePump::pass_on_news(const PageRun& run) {
  for (std::uint64_t at = run.vaddr; at < run.range().end;) {
    const std::uint64_t bytes = std::min(run.range().end - at, kComparedBytes);
    SSI_TRY(receive(compared_.data(), bytes));
    const auto is_news = [&](std::uint64_t offset) {
      return sent_pages_->is_news(owner_, at + offset, compared_.data() + offset);
    };
    std::uint64_t begin = 0;
    bool news = is_news(0);
    for (std::uint64_t end = kPageBytes; end <= bytes; end += kPageBytes) {
      const bool next = end < bytes && is_news(end);
      if (end < bytes && next == news) continue;
      PageRun piece{at + begin, (end - begin) / kPageBytes, run.flags};
      if (!news) piece.flags &= ~PageRun::kPresent;
      SSI_TRY(append_piece(piece, {compared_.data() + begin, news ? end - begin : 0}));
      begin = end;
      news = next;
    }
    at += bytes;
  }
  parser_.pass(run.range().bytes());
  return {};
}

Result<> PagePump::append_piece(const PageRun& piece, std::span<const std::uint8_t> data) {
  SSI_TRY(append(run_header(owner_, piece)));
  sent_bytes_ += data.size();
  while (!data.empty()) {
    if (used_ == buffer_.size()) SSI_TRY(flush());
    const std::size_t n = std::min(data.size(), buffer_.size() - used_);
    std::memcpy(buffer_.data() + used_, data.data(), n);
    used_ += n;
    data = data.subspan(n);
  }
  return {};
}

Result<> PagePump::receive(std::uint8_t* to, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::recv(*socket_, to, bytes, MSG_WAITALL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read pages from criu");
    if (n == 0) return Error("criu ended before it had sent all pages");
    to += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return {};
}

Result<> PagePump::append(const PageHeader& header) {
  if (buffer_.size() - used_ < header.size()) SSI_TRY(flush());
  std::memcpy(buffer_.data() + used_, header.data(), header.size());
  used_ += header.size();
  return {};
}

Result<> PagePump::copy(std::uint64_t bytes) {
  sent_bytes_ += bytes;
  while (bytes > 0) {
    if (used_ == buffer_.size()) SSI_TRY(flush());
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, buffer_.size() - used_));
    SSI_TRY(receive(buffer_.data() + used_, n));
    used_ += n;
    bytes -= n;
  }
  return {};
}

// The pages lie in the socket by reference: they are never copied.
Result<> PagePump::discard(std::uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::splice(*socket_, nullptr, *pipe_[1], nullptr,
                               std::min<std::uint64_t>(bytes, kFrameBytes), SPLICE_F_MOVE);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("pass over pages from criu");
    if (n == 0) return Error("criu ended before it had sent all pages");
    bytes -= static_cast<std::uint64_t>(n);
    for (ssize_t left = n; left > 0;) {
      const ssize_t gone = ::splice(*pipe_[0], nullptr, *null_, nullptr,
                                    static_cast<std::size_t>(left), SPLICE_F_MOVE);
      if (gone < 0 && errno == EINTR) continue;
      if (gone <= 0) return Error::from_errno("drop pages from criu");
      left -= gone;
    }
  }
  return {};
}

Result<> PagePump::flush() {
  if (used_ == 0) return {};
  SSI_TRY(send_({buffer_.data(), used_}));
  used_ = 0;
  return {};
}

Result<> PagePump::on_open(PageOwner owner) {
  owner_ = owner;
  const char no_parent = 0;
  return answer(&no_parent, sizeof no_parent);
}

Result<> PagePump::on_run(const PageRun& run) {
  run_ = run;
  return {};
}

Result<> PagePump::on_parent_query(PageOwner) {
  const int no_parent = 0;
  return answer(&no_parent, sizeof no_parent);
}

Result<> PagePump::on_close() {
  const std::int32_t status = 0;
  return answer(&status, sizeof status);
}

Result<> PagePump::answer(const void* data, std::size_t size) {
  if (::send(*socket_, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) {
    return Error::from_errno("answer criu");
  }
  return {};
}

}  // namespace ssi::migrate
