// criu's images of network connections, set for the place and the time where they go on.
#pragma once

#include <chrono>

#include "migrate/move/image_dir.h"

namespace ssi::migrate {

// `stood_still`: until it is rebuilt.
Result<> set_connections(const ImageDir& images, std::chrono::nanoseconds stood_still);

}  // namespace ssi::migrate
