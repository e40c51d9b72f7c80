// Pure: criu's image of terminals, changed between a dump and a restore.
#pragma once

#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

// The file of all terminals of a dump.
inline constexpr const char* kTtyImage = "tty-info.img";

// The same terminals; those that criu is given control nobody: their sessions stay behind with
// their leaders. Pseudo-terminals that it makes anew are those of sessions that move.
Result<std::string> without_outer_sessions(std::string_view image);

}  // namespace ssi::migrate
