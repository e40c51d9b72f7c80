// A process's PID in its own, innermost PID namespace (last number of NSpid in /proc/PID/status); 0
// if gone.
#pragma once

#include <sys/types.h>

namespace ssi {
pid_t innermost_pid(pid_t pid);
}
