// The metrics of one node, once a second: the public face of this room.
//
//   SSI_ASSIGN(auto sampler, Sampler::open({}, clock));
//   every second: const NodeSample& now = sampler.sample();      // about 1 ms of CPU with 300
//   processes
//                 sampler.watch(enabled_processes);               // read these even when idle
#pragma once

#include "loadlevel/metrics/node_meter.h"
#include "loadlevel/metrics/process_scan.h"

namespace ssi {

struct NodeSample {
  std::int64_t taken_us = 0;  // on the clock passed in
  NodeResources node;
  ProcessScanResult scan;
};

struct SamplerOptions {
  ProcessScanOptions scan;
  NodeMeterOptions node;
};

// Role: takes one NodeSample per call. Owned by the daemon; one thread; makes system calls on /proc
// only. What may go wrong: /proc can't be opened (error at open); processes vanish (left out). The
// first sample knows no rates yet: all demands are 0.
class Sampler {
 public:
  static Result<Sampler> open(SamplerOptions options, const Clock& clock);

  // Valid until the next call.
  const NodeSample& sample();

  void watch(const std::vector<ProcessKey>& keys) { scan_.watch(keys); }

  Result<ProcessSample> look(pid_t pid) { return scan_.look(pid); }

  const ProcessScan& scan() const { return scan_; }

 private:
  Sampler(ProcessScan scan, NodeMeter meter, const Clock& clock)
      : scan_(std::move(scan)), meter_(std::move(meter)), clock_(&clock) {}

  ProcessScan scan_;
  NodeMeter meter_;
  const Clock* clock_;
  NodeSample now_;
};

}  // namespace ssi
