// Pure: images of criu with nothing in them, put in the place of others between a dump and a
// restore.
#pragma once

#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

// criu would take the locks anew, while home still has them.
inline constexpr const char* kFileLocksImage = "filelocks.img";
// The image without its entries.
Result<std::string> only_the_head(std::string_view image);

}  // namespace ssi::migrate
