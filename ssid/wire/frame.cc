#include "ssid/wire/frame.h"

#include <cstring>

namespace ssi {
namespace {

template <typename T>
void put(std::byte* at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    at[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

template <typename T>
T get(const std::byte* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | (static_cast<T>(at[i]) << (8 * i)));
  return value;
}

}  // namespace

std::array<std::byte, kFrameHeaderBytes> serialise_frame_header(FrameHeader header) {
  std::array<std::byte, kFrameHeaderBytes> bytes;
  put(bytes.data(), kFrameMagic);
  put(bytes.data() + 4, kFrameVersion);
  put(bytes.data() + 6, header.type);
  put(bytes.data() + 8, header.length);
  return bytes;
}

Result<FrameHeader> parse_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                       FrameLimits limits) {
  if (get<std::uint32_t>(bytes.data()) != kFrameMagic) return Error("not a frame");
  const auto version = get<std::uint16_t>(bytes.data() + 4);
  if (version != kFrameVersion)
    return Error("frame of version " + std::to_string(version) + ", this is version " +
                 std::to_string(kFrameVersion));
  const FrameHeader header{.type = get<std::uint16_t>(bytes.data() + 6),
                           .length = get<std::uint32_t>(bytes.data() + 8)};
  for (const FrameLimit& limit : limits) {
    if (limit.type != header.type) continue;
    if (header.length > limit.bytes_max)
      return Error("frame of type " + std::to_string(header.type) + " has " +
                   std::to_string(header.length) + " bytes, at most " +
                   std::to_string(limit.bytes_max) + " are allowed");
    return header;
  }
  return Error("frame of unexpected type " + std::to_string(header.type));
}

std::vector<std::byte> serialise_frame(std::uint16_t type, std::span<const std::byte> payload) {
  SSI_CHECK(payload.size() <= UINT32_MAX);
  const auto header =
      serialise_frame_header({.type = type, .length = static_cast<std::uint32_t>(payload.size())});
  std::vector<std::byte> bytes(header.size() + payload.size());
  std::memcpy(bytes.data(), header.data(), header.size());
  if (!payload.empty()) std::memcpy(bytes.data() + header.size(), payload.data(), payload.size());
  return bytes;
}

void FrameReader::add(std::span<const std::byte> piece) {
  if (!broken_.empty()) return;
  if (begin_ > 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  }
  buffer_.insert(buffer_.end(), piece.begin(), piece.end());
}

Result<bool> FrameReader::take(Frame& frame) {
  if (!broken_.empty()) return Error(broken_);
  if (bytes_held() < kFrameHeaderBytes) return false;
  const auto at = std::span<const std::byte>(buffer_).subspan(begin_);
  auto header = parse_frame_header(at.first<kFrameHeaderBytes>(), limits_);
  if (!header) {
    broken_ = header.error().message();
    buffer_ = {};
    begin_ = 0;
    return Error(broken_);
  }
  if (at.size() - kFrameHeaderBytes < header->length) return false;
  const auto payload = at.subspan(kFrameHeaderBytes, header->length);
  frame.type = header->type;
  frame.payload.assign(payload.begin(), payload.end());
  begin_ += kFrameHeaderBytes + header->length;
  return true;
}

}  // namespace ssi
