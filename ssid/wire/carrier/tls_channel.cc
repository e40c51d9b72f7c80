#include "ssid/wire/carrier/tls_channel.h"

#include <vector>

namespace ssi {
namespace {

constexpr std::uint16_t kCarrierFrame = 0x0401;
constexpr FrameLimit kLimits[] = {{kCarrierFrame, Channel::kFrameBytesMax}};

}  // namespace

Result<> TlsChannel::send(std::initializer_list<ByteSpan> parts) {
  std::size_t total = 0;
  for (const auto& part : parts) total += part.size();
  if (total > kFrameBytesMax) return Error("frame too large");
  const auto header = serialise_frame_header({kCarrierFrame, static_cast<std::uint32_t>(total)});
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(parts.size() + 1);
  pieces.emplace_back(header);
  for (const auto& part : parts) {
    if (!part.empty()) pieces.push_back(std::as_bytes(part));
  }
  return link_->write_v(pieces);
}

Result<> TlsChannel::recv(FrameBuffer& frame) {
  SSI_ASSIGN(const FrameHeader header, link_->recv_frame_header(kLimits));
  frame.resize(header.length);
  return link_->read_exact(std::as_writable_bytes(std::span(frame.data(), frame.size())));
}

}  // namespace ssi
