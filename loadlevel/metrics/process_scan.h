// One cheap pass over /proc a second: who wants a CPU, and how much of it.
//
// The decision needs, for each process, how many CPUs it would use if it had them: time on a CPU
// plus time runnable but waiting (run delay), from each thread's schedstat. The sum over all
// processes is the number of runnable tasks of the node over the last second, not an instantaneous
// count and not the slow average of loadavg. Only what this PID namespace shows counts:
// /proc/loadavg and /proc/stat speak for the whole kernel, which several lab nodes share.
//
// Cost: a process that did nothing for three readings is read every 2nd, then every 4th pass (as
// far as the budget asks for, up to the 32nd); a new one, a watched one and one whose directory
// entry changed at once. Busy ones keep their descriptors open, and their threads are read only
// while they use a CPU. Rejected: taskstats by netlink (root of the initial namespace only), BPF
// (needs more capabilities), /proc/PID/cgroup cpu.stat (no controller here, and a cgroup is not a
// process).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "loadlevel/metrics/proc_files.h"
#include "loadlevel/metrics/proc_text.h"
#include "loadlevel/metrics/process_sample.h"
#include "ssid/base/clock.h"

namespace ssi {

struct ProcessScanOptions {
  std::string proc_root = "/proc";
  double smoothing_s = 3;             // time constant of the smoothed values
  std::size_t kept_fds_max = 256;     // descriptors kept open for busy processes
  std::size_t threads_read_max = 64;  // of one process per pass; the rest is scaled up
  int idle_every_min = 4;             // passes between two readings of an idle process
  int idle_every_max = 32;            // the same, if the budget can't be met otherwise
  double budget = 0.004;              // share of one CPU that the passes may use
  // CPU time used by the calling thread in microseconds; empty: the kernel's.
  std::function<std::int64_t()> cost_us;
};

// Role: turns /proc into ProcessSamples. Owned by the Sampler; one thread; keeps at most
// kept_fds_max descriptors. What may go wrong: processes vanish while they are read (left out), and
// a kernel without schedstat (demand is then what was used, and 1 for a process caught runnable).
class ProcessScan {
 public:
  static Result<ProcessScan> open(ProcessScanOptions options, const Clock& clock);
  ProcessScan(ProcessScan&&) noexcept;
  ~ProcessScan();

  // Call it about once a second. What `out` held before is replaced (and its memory used again).
  void pass(ProcessScanResult& out);

  // One process now, outside the passes, without rates (to enable one that is younger than the last
  // pass). kGone if there is none; kRefused for a kernel thread and for what has ended.
  Result<ProcessSample> look(pid_t pid);

  // These are read in every pass even if idle (the enabled ones).
  void watch(const std::vector<ProcessKey>& keys);

  // Share of one CPU that the last passes cost, and how rarely idle processes are read now.
  double cost_share() const { return cost_share_; }
  int idle_every() const { return idle_every_; }
  std::size_t read_last_pass() const { return read_last_pass_; }

 private:
  struct Entry;
  ProcessScan(ProcessScanOptions options, const Clock& clock, ProcFiles files);
  bool read_process(Entry& entry, bool first);
  double read_wait(Entry& entry, double cpu_ticks_s, bool born_since, std::int32_t threads,
                   double& run_s);
  void read_image(Entry& entry, const proc::StatLine& stat);
  void schedule(Entry& entry, bool busy);
  void adapt_to_budget(std::int64_t cost_us, double interval_s);

  ProcessScanOptions options_;
  const Clock* clock_;
  ProcFiles files_;
  std::unordered_map<pid_t, std::unique_ptr<Entry>> entries_;
  std::unordered_set<ProcessKey> watched_;
  std::vector<ProcFiles::PidEntry> listing_;
  std::vector<ProcFiles::PidEntry> threads_;
  std::uint64_t pass_ = 0;
  std::int64_t boot_offset_us_ = 0;  // time since boot minus clock
  std::int64_t last_pass_us_ = 0;
  double ticks_per_s_ = 100;
  std::uint64_t page_bytes_ = 4096;
  std::size_t kept_fds_ = 0;
  std::size_t read_last_pass_ = 0;
  double cost_share_ = 0;
  int idle_every_;
};

}  // namespace ssi
