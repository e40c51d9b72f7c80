// ssid keeps only the capabilities it uses itself. What it executes (criu, ssid-realm) is root's
// and gets the full set again from the bounding set, which stays: criu has to give guests the
// capabilities they had.
#pragma once

#include "ssid/base/result.h"

namespace ssi {

// In every thread that is started afterwards too: call it first.
Result<> keep_needed_capabilities();

}  // namespace ssi
