#include "loadlevel/metrics/sampler.h"

namespace ssi {

Result<Sampler> Sampler::open(SamplerOptions options, const Clock& clock) {
  SSI_ASSIGN(auto scan, ProcessScan::open(std::move(options.scan), clock));
  SSI_ASSIGN(auto meter, NodeMeter::open(std::move(options.node), clock));
  return Sampler(std::move(scan), std::move(meter), clock);
}

const NodeSample& Sampler::sample() {
  now_.taken_us = clock_->now_us();
  now_.node = meter_.read();
  scan_.pass(now_.scan);
  return now_;
}

}  // namespace ssi
