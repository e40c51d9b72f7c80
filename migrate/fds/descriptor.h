// A duplicate of another process's open descriptor.
#pragma once

#include <sys/types.h>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// Any thread. `pid` in this node's /proc. kBusy: it has closed it.
Result<UniqueFd> descriptor_of(pid_t pid, int number);

}  // namespace ssi::fds
