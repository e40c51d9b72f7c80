// Who is in a cgroup.
#pragma once

#include <sys/types.h>

#include <string>

namespace ssi::fs {

// Is the thread (of our PID namespace) in that directory of a cgroup v2, just now? Not in those
// below it. False also if there is no such directory.
bool cgroup_has_thread(const std::string& cgroup, pid_t thread);

}  // namespace ssi::fs
