// Pure: filelocks.img of criu, with the record locks that restored processes are to take
// themselves.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ssid/wire/carrier/lock_range.h"

namespace ssi::migrate {

struct ProcessLock {
  pid_t pid = 0;  // as the process sees itself
  int number = -1;
  LockRange range;
};

std::string process_locks_image(const std::vector<ProcessLock>& locks);

}  // namespace ssi::migrate
