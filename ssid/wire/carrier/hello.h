// What the two ends of a carrier connection say first. Fixed little-endian structures.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace ssi {

static_assert(std::endian::native == std::endian::little, "wire structures are little-endian");

using SessionToken =
    std::array<std::uint8_t, 16>;  // random; names a session of a client at a store

enum class LinkKind : std::uint16_t {
  kFiles = 1,      // requests of a view
  kStreams = 2,    // the bytes of one pipe
  kListeners = 3,  // the clients of one unix socket that listens
};

struct LinkHello {
  static constexpr std::uint32_t kMagic = 0x43495353;  // "SSIC"
  static constexpr std::uint16_t kVersion = 1;

  std::uint32_t magic = kMagic;
  std::uint16_t version = kVersion;
  LinkKind kind = LinkKind::kFiles;
  std::uint32_t node = 0;   // of the caller
  std::uint32_t realm = 0;  // home node of the guests it calls for; 0: none, for a node's users
  SessionToken token{};
  std::uint32_t lane = 0;  // kFiles: which of the session's parallel connections
  std::uint32_t reserved = 0;
};
static_assert(sizeof(LinkHello) == 40);

struct LinkWelcome {
  std::uint32_t magic = LinkHello::kMagic;
  std::int32_t error = 0;    // errno; the connection ends if it is not 0
  std::uint64_t serial = 0;  // of the session: another number means that the store forgot it
};
static_assert(sizeof(LinkWelcome) == 16);

}  // namespace ssi
