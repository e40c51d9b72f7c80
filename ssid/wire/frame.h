// A frame: what every connection between programs of ours carries, links and unix sockets alike.
//
//     0        4         6        8          12
//     | magic  | version | type   | length   | payload: length bytes
//
// All numbers little-endian. Types belong to the protocol that is spoken on the connection; each
// has a greatest length, and a longer one is refused when its header is read, before anything is
// allocated. Pure; fuzzed by frame_fuzz_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi {

inline constexpr std::uint32_t kFrameMagic = 0x31495353;  // "SSI1"
inline constexpr std::uint16_t kFrameVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 12;

struct FrameHeader {
  std::uint16_t type = 0;
  std::uint32_t length = 0;  // bytes of payload
  bool operator==(const FrameHeader&) const = default;
};

struct Frame {
  std::uint16_t type = 0;
  std::vector<std::byte> payload;
  bool operator==(const Frame&) const = default;
};

// Which types may come next, and how long they may be.
struct FrameLimit {
  std::uint16_t type;
  std::uint32_t bytes_max;
};
using FrameLimits = std::span<const FrameLimit>;

std::array<std::byte, kFrameHeaderBytes> serialise_frame_header(FrameHeader header);

// Refuses a wrong magic or version, a type without a limit, and a length above it.
Result<FrameHeader> parse_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                       FrameLimits limits);

// Header and payload in one piece, for small frames.
std::vector<std::byte> serialise_frame(std::uint16_t type, std::span<const std::byte> payload);

// Role: cuts a stream of bytes, which comes in pieces of any size, into frames. Owned by one
// connection. What may go wrong: garbage. Then take() says so, from then on always, and the
// connection is to be closed. It never holds more than one frame's limit and one piece.
class FrameReader {
 public:
  // `limits` must outlive the reader.
  explicit FrameReader(FrameLimits limits) : limits_(limits) {}

  void add(std::span<const std::byte> piece);
  // True: `frame` is the next one. False: more bytes are needed.
  Result<bool> take(Frame& frame);
  // Inside a frame: bytes are here that don't make a whole one.
  bool partial() const { return buffer_.size() > begin_; }
  std::size_t bytes_held() const { return buffer_.size() - begin_; }

 private:
  FrameLimits limits_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::string broken_;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace ssi
