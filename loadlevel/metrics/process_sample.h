// What is known about the processes of this node after one pass over /proc. Plain values, owned by
// whoever holds them; filled by ProcessScan, read by the tracker, the planner's view and `ssips`.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ssi {

// A process as this node's kernel names it. The PID alone may be reused; with the start time it is
// not.
struct ProcessKey {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat: clock ticks since boot
  auto operator<=>(const ProcessKey&) const = default;
};

struct ProcessSample {
  ProcessKey key;
  pid_t ppid = 0;
  pid_t process_group = 0;
  pid_t session = 0;
  std::int32_t tty = 0;   // controlling terminal, for proc::tty_name(); 0: none
  std::uint32_t uid = 0;  // real uid
  char state = '?';       // as in /proc/PID/stat: R S D T t Z X I
  std::int32_t threads = 1;
  bool service = false;           // ssid itself and its helpers: never counted, never moved
  std::uint64_t rss_bytes = 0;    // resident
  std::uint64_t vsz_bytes = 0;    // address space
  double cpu_share = 0;           // CPUs used since the previous reading: 0 .. threads
  double cpu_share_smoothed = 0;  // the same, over the last seconds
  double demand = 0;           // CPUs used or waited for since the previous reading: 0 .. threads
  double demand_smoothed = 0;  // the same, over the last seconds; starts at the first value
  double cpu_s = 0;            // CPU seconds used since it started
  double wanted_s = 0;         // CPU seconds used, plus seconds its threads waited for a CPU
  double age_s = 0;            // seconds since it started
  std::string comm;
  std::string exe;           // path of the program; empty if it can't be read
  bool exe_deleted = false;  // the file was replaced or removed since it was started
};

// One pass. Kernel threads are left out.
struct ProcessScanResult {
  double runnable = 0;  // tasks that ran or waited for a CPU, averaged over the last interval
  double runnable_services =
      0;  // the part used by ssid and its helpers, not contained in `runnable`
  std::vector<ProcessSample> processes;  // by pid
};

}  // namespace ssi

template <>
struct std::hash<ssi::ProcessKey> {
  std::size_t operator()(const ssi::ProcessKey& k) const noexcept {
    return std::hash<std::uint64_t>{}(k.start_ticks * 0x9e3779b97f4a7c15ULL ^
                                      static_cast<std::uint64_t>(k.pid));
  }
};
