// What the two carriers of a moved pipe, or of one direction of a moved terminal, say to each
// other. Positions count the bytes of the stream from its export on; fixed little-endian
// structures.
#pragma once

#include <cstdint>

namespace ssi::migrate {

// Who writes into the stream, seen from the guest.
enum class StreamDirection : std::uint32_t {
  kGuestWrites = 1,  // guest -> home
  kGuestReads = 2,   // home -> guest
};

enum class StreamFrameType : std::uint32_t {
  kAttach = 1,  // target -> home: a = stream, b = generation, c = position or kFromHome,
                //                 d = the attachment's own number, perhaps kClaim in flags
  kAttached =
      2,         // home -> target: a = position to go on from, b = errno (then the connection ends)
  kData = 3,     // source -> sink: a = position of the first byte; bytes follow
  kEof = 4,      // source -> sink: a = position of the end
  kCredit = 5,   // sink -> source: a = bytes below need not be kept, b = bytes below may be sent,
                 //                 c = bytes below were written to the pipe, kEofSeen in flags,
                 //                 d = the number of the last kTerminal that the terminal is set to
  kBroken = 6,   // sink -> source: nobody reads any more
  kDrained = 7,  // target sink -> home source: a = the guest has read the bytes below, and no more
  kDrainedOk = 8,  // home source -> target sink
  // Terminals. A TerminalState follows.
  kTerminal = 9,      // source -> sink: so it is from position a on; b = its number
  kTerminalAsk = 10,  // target sink -> home source: tell it now
};

struct StreamFrame {
  StreamFrameType type{};
  std::uint32_t flags = 0;
  std::uint64_t a = 0, b = 0, c = 0, d = 0;

  static constexpr std::uint32_t kEofSeen = 1;
  // The guest stays here: the move for which a later generation was attached was called off.
  static constexpr std::uint32_t kClaim = 2;
  static constexpr std::uint64_t kFromHome =
      ~std::uint64_t{0};  // a new attachment: home knows the position
};
static_assert(sizeof(StreamFrame) == 40);

}  // namespace ssi::migrate
