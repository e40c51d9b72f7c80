// TCP ports that nodes listen on; 7789 is the carrier's (ssid/wire/carrier).
#pragma once

#include <cstdint>

namespace ssi {
inline constexpr std::uint16_t kMovePort = 7788;
}
