// Gives up what a carrier never needs. Call it before the first thread.
#pragma once

#include "ssid/base/result.h"

namespace ssi {
Result<> keep_needed_capabilities();
}
