// Record locks of fcntl(F_SETLK) belong to a process's table of descriptors: only a process itself
// can set, change or look at its own. A deputy that keeps some of its original's does it when
// asked. Rejected: to make any process do it, through ptrace; ssid traces its deputies already.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <chrono>

#include "ssid/base/result.h"

namespace ssi {

// `command`: F_SETLK or F_GETLK, which do not wait. What fcntl(2) came to: 0, or its errno.
// kTimeout: it does not answer, for it is stopped, say. For root; any thread.
Result<int> lock_by_deputy(pid_t pid, int number, int command, struct flock& lock,
                           std::chrono::milliseconds timeout);

}  // namespace ssi
