// Job control of a process, as /proc/PID/stat tells it. Any thread; the process may end at any
// time.
#pragma once

#include <sys/types.h>

#include <optional>

namespace ssi {

struct ProcJob {
  pid_t parent = 0;
  pid_t group = 0;       // its process group
  pid_t session = 0;     // its session
  dev_t terminal = 0;    // its controlling terminal; 0: none
  pid_t foreground = 0;  // the process group in the foreground of that; -1: none
};

// nullopt: no such process.
std::optional<ProcJob> proc_job(pid_t pid);

}  // namespace ssi
