// How long a link waits for the other side. Milliseconds.
#pragma once

#include <cstdint>

namespace ssi {

struct LinkTimeouts {
  // TCP connection made.
  std::int64_t connect_ms = 3000;
  // The whole TLS handshake and hello, both directions, however the bytes are trickled.
  std::int64_t handshake_ms = 5000;
  // The other kernel has not acknowledged anything for so long: the machine or the network is gone.
  std::int64_t peer_dead_ms = 10000;
  // Silence in the middle of something: no byte came, or none could be sent, for so long (a stopped
  // peer).
  std::int64_t stall_ms = 30000;
  // Silence between frames; 0: as long as the peer's kernel is alive.
  std::int64_t idle_ms = 0;
};

}  // namespace ssi
