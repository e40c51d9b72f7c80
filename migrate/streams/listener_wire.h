// What two carriers say to each other of a unix socket that listens, whose process is away: one
// connection for each, kept for as long as the process is there. Fixed little-endian structures.
#pragma once

#include <cstdint>

namespace ssi::migrate {

enum class ListenerFrameType : std::uint32_t {
  kListen = 1,     // target -> home: a = listener, b = generation, c = its backlog; the streams
                   //                 (kGuestWrites) of the connections that were made there follow,
                   //                 8 bytes each
  kListening = 2,  // home -> target: a = errno (then the connection ends)
  kComes = 3,      // home -> target: somebody has connected: a, b = the streams of it, out of the
                   //                 process and into it, c = user, d = group
  kNobody = 4,    // target -> home: a = a connection's stream, or 0: the process did not listen any
                  //                 more
  kAccepted = 5,  // target -> home: a = a connection's stream: the process has it, for good
  kAsk = 6,       // target -> home: a = a number, said again as soon as all before it was heard
  kHeard = 7,     // home -> target: a = that number
  kOver = 8,      // target -> home: a = a connection's stream: it is over, or can't be made
};

struct ListenerFrame {
  ListenerFrameType type{};
  std::uint32_t reserved = 0;
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
};
static_assert(sizeof(ListenerFrame) == 40);

inline constexpr std::size_t kConnectionsMax = 1024;  // of one listener, at the same time

}  // namespace ssi::migrate
