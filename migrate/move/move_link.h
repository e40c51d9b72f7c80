// The link between the two ends of one move, as the movers see it: frames of a type. One
// implementation over TLS (ssid/daemon), one over a socketpair for tests. Blocking; send and
// receive by one thread at a time; abort() from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::migrate {

enum class MoveFrame : std::uint16_t { kMessage = 0x10, kPages = 0x11, kEarlyPages = 0x12 };

constexpr std::size_t kMoveFrameBytesMax = 2u << 20;

class MoveLink {
 public:
  virtual ~MoveLink() = default;
  virtual Result<> send(MoveFrame type, std::span<const std::uint8_t> payload) = 0;
  struct Frame {
    MoveFrame type;
    std::span<const std::uint8_t> payload;  // valid until the next receive
  };
  virtual Result<Frame> receive() = 0;
  virtual void abort() = 0;
};

}  // namespace ssi::migrate
