// What a process has taken along of what its original, or its deputy, has still.
#pragma once

#include <vector>

#include "migrate/move/environment.h"
#include "migrate/move/image_dir.h"

namespace ssi::migrate {

// As criu's images say. `originals`: those that become deputies, whose signals went along. Without
// the time of the freeze.
Result<Carried> read_carried(const ImageDir& images, const std::vector<pid_t>& originals);

}  // namespace ssi::migrate
