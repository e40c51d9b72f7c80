// Waiting for a descriptor, but not for ever. Moments are milliseconds of the monotonic clock.
#pragma once

#include <cstdint>

#include "ssid/base/result.h"

namespace ssi {

// Now + ms; 0 or less: a moment that does not come.
std::int64_t deadline_in(std::int64_t ms);

// Waits until one of `events` (poll(2)), an error or a hang-up is there; kTimeout.
Result<> wait_ready(int fd, short events, std::int64_t deadline_ms);

}  // namespace ssi
