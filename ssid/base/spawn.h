// Starts a program with a clean environment, the given descriptors and nothing else. No shell, no
// fork of the caller's memory. Any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi {

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  std::vector<int> descriptors;   // become 3, 4, ... in this order; stay open here
  int stdout_fd = -1;             // -1: /dev/null
  int stderr_fd = -1;
  bool new_session = true;
};

// The child's PID; the caller waits for it.
Result<pid_t> spawn(const SpawnOptions& options);

// Runs to the end and gives what it wrote to stdout and stderr together (at most 64 KiB); an error
// if it did not exit with 0, with its last line in it.
Result<std::string> run_to_end(const std::vector<std::string>& argv);

}  // namespace ssi
