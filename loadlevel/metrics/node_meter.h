// What the node as a whole has: CPUs, their speed, memory, pressure. Cheap enough for once a
// second.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "loadlevel/metrics/proc_files.h"
#include "loadlevel/metrics/proc_text.h"
#include "ssid/base/clock.h"

namespace ssi {

struct NodeResources {
  int cpus = 1;                          // those this process may run on (sched_getaffinity)
  double speed_mhz = 0;                  // of one CPU
  std::uint64_t memory_total_bytes = 0;  // the machine's, or the cgroup's limit if that is lower
  std::uint64_t memory_available_bytes = 0;
  double memory_trend_bytes_s = 0;  // smoothed change of `available`; negative: running dry
  std::optional<proc::Pressure> cpu_pressure;  // of the own cgroup, if the kernel has it; for show
  std::optional<proc::Pressure> memory_pressure;
};

struct NodeMeterOptions {
  std::string proc_root = "/proc";
  std::optional<std::string> cgroup_dir;  // own cgroup v2 directory; nullopt: find it, "": none
  std::function<int()> cpus;              // empty: sched_getaffinity
  std::function<double()> speed_mhz;  // asked once; empty: cpufreq, cpuinfo, or a calibrated loop
  double smoothing_s = 3;
};

// Role: reads NodeResources. Owned by the Sampler; one thread. What may go wrong: no memory numbers
// (/proc not mounted), said at open.
class NodeMeter {
 public:
  static Result<NodeMeter> open(NodeMeterOptions options, const Clock& clock);
  const NodeResources& read();

 private:
  NodeMeter(NodeMeterOptions options, const Clock& clock, ProcFiles files);
  void limit_memory_to_cgroups();

  NodeMeterOptions options_;
  const Clock* clock_;
  ProcFiles files_;
  std::string cgroup_dir_;
  std::string cgroup_root_;  // where the walk up to the limits of parents ends
  NodeResources now_;
  std::int64_t last_us_ = 0;
  bool first_ = true;
};

}  // namespace ssi
