// A cluster in which only load-levelling is real: plan(), admit() and MoveLedger are the product's,
// the nodes, their jobs and the network are simulated, in steps of 100 ms.
//
// Each node shares its CPUs evenly among what is runnable (processor sharing), measures the last
// second and publishes that; the others plan with it a second later, at different moments of the
// second. A moved job stands still for the fixed part and for its bytes over the link, which moves
// of the same source share.
#pragma once

#include <cstdint>
#include <vector>

#include "loadlevel/policy/policy_config.h"
#include "tests/sim/sim_load.h"

namespace ssi::sim {

struct ClusterOptions {
  std::size_t nodes = 2;
  std::vector<int> cpus = {1};       // node i has cpus[i % size]
  std::vector<double> speeds = {1};  // the same
  bool balance = true;
  bool admission = true;
  double view_delay_s = 1;      // on top of up to a second since it was measured
  double link_bytes_s = 117e6;  // a gigabit
  double freeze_s = 0.05;
  double end_s = 3600;  // give up on jobs that still run then
  std::uint64_t seed = 1;
  PolicyConfig config;
};

struct Outcome {
  std::size_t jobs = 0;
  std::size_t unfinished = 0;
  std::size_t moves = 0;
  std::size_t moved_jobs = 0;
  std::size_t returns = 0;  // moves back to the node left less than 15 s before
  std::size_t not_admitted = 0;
  double slowdown_mean = 0;  // time from start to end / time alone on a CPU of speed 1
  double slowdown_p95 = 0;
  double long_slowdown_mean = 0;  // of the jobs with at least 2 s of work
  double end_s = 0;               // the last job ended
  // Until the first job ends:
  double even_s = -1;  // from when on no node had a task or more above the average
  std::size_t early_moves = 0;
  double last_move_s = 0;
  double frozen_s = 0;  // sum over all moves
};

Outcome simulate(const ClusterOptions& options, const std::vector<Job>& jobs);

// The same jobs on one machine with all CPUs of the cluster: what free and instant moves could
// reach.
Outcome ideal(const ClusterOptions& options, const std::vector<Job>& jobs);

}  // namespace ssi::sim
