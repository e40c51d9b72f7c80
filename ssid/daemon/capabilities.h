// ssid keeps only the capabilities it uses itself. What it executes (criu, ssid-realm) is root's
// and gets the full set again from the bounding set, which stays: criu has to give guests the
// capabilities they had.
#pragma once

#include "ssid/base/result.h"

namespace ssi {

// In every thread that is started afterwards too: call it first.
Result<> keep_needed_capabilities();

// So that the deputy of an ordinary user's process can fork others with the PIDs that their guests
// have: CAP_CHECKPOINT_RESTORE for the stub, by its file, permitted only. Before keep_needed_...
Result<> let_deputies_choose_pids(const std::string& stub_path);

}  // namespace ssi
