// Loads for the planner simulator: which job starts when, where, and how much it wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::sim {

struct Job {
  double start_s = 0;
  std::size_t node = 0;  // where it is started
  double work_s = 1;     // CPU seconds on a CPU of speed 1
  double duty = 1;       // part of the time it wants a CPU
  double bytes = 0;
  bool enabled = true;
};

struct PoissonLoad {
  std::size_t nodes = 1;
  double capacity_per_node = 1;  // CPUs x speed
  double duration_s = 100;
  double utilisation = 0.7;  // of the whole cluster
  double hot_nodes = 1;      // part of the nodes that get `hot_share` of the jobs
  double hot_share = 1;
  double enabled = 0.8;  // part of the jobs that may be moved
  double work_min_s =
      0.2;  // bounded Pareto, index 1.1: most are short, most of the work is in a few
  double work_max_s = 300;
};
std::vector<Job> poisson_load(const PoissonLoad& options, std::uint64_t seed);

// `count` jobs of `work_s` at once on node 0.
std::vector<Job> burst_load(std::size_t count, double work_s, double bytes);

// Lines "start_s cpu_s rss_mib" as ssid-record-load writes them; replayed on each of the nodes
// [0, busy_nodes) from another moment of the record on, `speed_up` times as dense.
Result<std::vector<Job>> recorded_load(const std::string& path, std::size_t busy_nodes,
                                       double speed_up, std::uint64_t seed);

}  // namespace ssi::sim
