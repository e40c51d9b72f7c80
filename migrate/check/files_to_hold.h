// Which files of processes home has to hold for them while they move (migrate/fds/held_file.h).
// Pure.
#pragma once

#include <vector>

#include "migrate/check/tree.h"
#include "migrate/fds/held_file.h"
#include "ssid/base/result.h"

namespace ssi::check {

// `to_home`: they go there. kRefused: it can't be done so.
Result<std::vector<fds::FileToHold>> files_to_hold(const Tree& tree, bool to_home);

}  // namespace ssi::check
