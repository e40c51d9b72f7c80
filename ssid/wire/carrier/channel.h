// A connection between two carriers that carries whole frames in order: TLS between nodes, a socket
// pair in tests. Owned by whoever dialled or accepted it; one thread sends and receives (two may,
// if one only sends and the other only receives); abort() may be called by any thread while the
// others are inside.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "ssid/base/result.h"
#include "ssid/wire/carrier/frame_buffer.h"

namespace ssi {

using ByteSpan = std::span<const std::uint8_t>;

class Channel {
 public:
  // The largest frame: 1 MiB of data and its head.
  static constexpr std::size_t kFrameBytesMax = (1u << 20) + (64u << 10);

  virtual ~Channel() = default;

  // Sends the parts as one frame; blocks. An error means that the connection is of no use any more.
  virtual Result<> send(std::initializer_list<ByteSpan> parts) = 0;
  // Receives one frame, replacing what `frame` held; blocks. End of the connection is an error too.
  virtual Result<> recv(FrameBuffer& frame) = 0;
  // Breaks the connection: send() and recv() of all threads fail from now on.
  virtual void abort() = 0;
};

}  // namespace ssi
