// Pure: filelocks.img of criu, with the record locks and leases that restored processes are to take
// themselves.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ssid/base/lease.h"
#include "ssid/wire/carrier/lock_range.h"

namespace ssi::migrate {

struct ProcessLock {
  pid_t pid = 0;  // as the process sees itself
  int number = -1;
  LockRange range;
};

struct LeaseToTake {
  pid_t pid = 0;  // as above
  int number = -1;
  Lease lease;
};

std::string locks_image(const std::vector<ProcessLock>& locks,
                        const std::vector<LeaseToTake>& leases);

}  // namespace ssi::migrate
