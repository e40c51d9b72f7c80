#include "migrate/pages/page_pump.h"

#include <sys/socket.h>

namespace ssi::migrate {
namespace {
constexpr std::size_t kFrameBytes = 1u << 20;
}

PagePump::PagePump(UniqueFd socket, Send send)
    : socket_(std::move(socket)), send_(std::move(send)), parser_(*this), buffer_(kFrameBytes) {
  const int bytes = 4 << 20;
  ::setsockopt(*socket_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
}

Result<> PagePump::run() {
  std::size_t used = 0;
  while (!parser_.closed()) {
    const ssize_t n = ::recv(*socket_, buffer_.data() + used, buffer_.size() - used, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read pages from criu");
    if (n == 0) return Error("criu ended before it had sent all pages");
    const auto got = static_cast<std::size_t>(n);
    SSI_TRY(parser_.feed({buffer_.data() + used, got}));
    used += got;
    if (used == buffer_.size() || parser_.closed()) {
      SSI_TRY(send_({buffer_.data(), used}));
      used = 0;
    }
  }
  return {};
}

Result<> PagePump::on_open(PageOwner) {
  const char no_parent = 0;
  return answer(&no_parent, sizeof no_parent);
}

Result<> PagePump::on_run(const PageRun& run) {
  if (run.has_data()) memory_bytes_ += run.pages * kPageBytes;
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
