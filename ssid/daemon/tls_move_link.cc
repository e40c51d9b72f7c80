#include "ssid/daemon/tls_move_link.h"

#include <array>

namespace ssi {
using migrate::MoveFrame;

namespace {
constexpr std::array<FrameLimit, 3> kLimits{{
    {static_cast<std::uint16_t>(MoveFrame::kMessage), migrate::kMoveFrameBytesMax},
    {static_cast<std::uint16_t>(MoveFrame::kPages), migrate::kMoveFrameBytesMax},
    {static_cast<std::uint16_t>(MoveFrame::kEarlyPages), migrate::kMoveFrameBytesMax},
}};
}  // namespace

Result<> TlsMoveLink::send(MoveFrame type, std::span<const std::uint8_t> payload) {
  return link_->send_frame(static_cast<std::uint16_t>(type), std::as_bytes(payload));
}

Result<migrate::MoveLink::Frame> TlsMoveLink::receive() {
  SSI_ASSIGN(const FrameHeader header, link_->recv_frame_header(kLimits));
  if (buffer_.size() < header.length) buffer_.resize(header.length);
  const std::span<std::uint8_t> payload(buffer_.data(), header.length);
  SSI_TRY(link_->read_exact(std::as_writable_bytes(payload)));
  return Frame{static_cast<MoveFrame>(header.type), payload};
}

}  // namespace ssi
