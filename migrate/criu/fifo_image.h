// Pure: criu's image of what waits in named pipes: after each entry stand that one's bytes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

inline constexpr const char* kFifoDataImage = "fifo-data.img";

// What waits, by the inode, of which criu takes 32 bits.
Result<std::map<std::uint32_t, std::string>> what_waits_in_fifos(std::string_view image);

// Without those whose inodes these are: what is in one that stays is still there, and comes by its
// stream.
Result<std::string> without_fifos(std::string_view image, const std::set<std::uint32_t>& inodes);

}  // namespace ssi::migrate
