#include "ssid/wire/carrier/socket_channel.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <vector>

namespace ssi {
namespace {

Result<> read_exactly(int fd, std::uint8_t* to, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::recv(fd, to, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("receive");
    if (got == 0) return Error(ErrorCode::kGone, "the other side closed the connection");
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace

Result<> SocketChannel::send(std::initializer_list<ByteSpan> parts) {
  std::size_t total = 0;
  for (const auto& part : parts) total += part.size();
  if (total > kFrameBytesMax) return Error("frame too large");
  auto length = static_cast<std::uint32_t>(total);
  std::vector<iovec> pieces;
  pieces.push_back({&length, sizeof(length)});
  for (const auto& part : parts) {
    if (!part.empty()) pieces.push_back({const_cast<std::uint8_t*>(part.data()), part.size()});
  }
  std::size_t first = 0;
  while (first < pieces.size()) {
    msghdr message{};
    message.msg_iov = &pieces[first];
    message.msg_iovlen = pieces.size() - first;
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Error::from_errno("send");
    auto left = static_cast<std::size_t>(sent);
    while (first < pieces.size() && left >= pieces[first].iov_len) left -= pieces[first++].iov_len;
    if (first < pieces.size()) {
      pieces[first].iov_base = static_cast<std::uint8_t*>(pieces[first].iov_base) + left;
      pieces[first].iov_len -= left;
    }
  }
  return {};
}

Result<> SocketChannel::recv(FrameBuffer& frame) {
  std::uint32_t length = 0;
  SSI_TRY(read_exactly(socket_.get(), reinterpret_cast<std::uint8_t*>(&length), sizeof(length)));
  if (length > kFrameBytesMax) return Error("frame too large");
  frame.resize(length);
  return read_exactly(socket_.get(), frame.data(), length);
}

void SocketChannel::abort() { ::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace ssi
