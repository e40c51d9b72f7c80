// What the conversion reads of a process in /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "migrate/deputy/remote_thread.h"
#include "ssid/base/result.h"

namespace ssi::deputy {

struct Mapping {
  RemotePtr start;
  RemotePtr end;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  std::string name;  // path, "[stack]", "[vdso]" or empty
  std::uint64_t size() const { return end.address - start.address; }
};

// kGone if the process has ended. Binary content is kept as it is.
Result<std::string> read_proc_file(pid_t pid, const char* file);
Result<std::uint64_t> start_time_ticks(pid_t pid);
Result<char> process_state(pid_t pid);  // 'R', 'S', 'Z' ... as in proc(5)
Result<std::vector<pid_t>> thread_ids(pid_t pid);
Result<std::vector<Mapping>> mappings(pid_t pid);

}  // namespace ssi::deputy
