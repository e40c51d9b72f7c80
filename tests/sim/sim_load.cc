#include "tests/sim/sim_load.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

namespace ssi::sim {
namespace {

constexpr double kMiB = 1024.0 * 1024;

double uniform(std::mt19937_64& random) {  // (0, 1), the same with every standard library
  return (static_cast<double>(random() >> 11) + 0.5) / 9007199254740992.0;
}

double some_bytes(std::mt19937_64& random) {
  // Log-normal: median 24 MiB, one in twenty above 280 MiB.
  const double normal =
      std::sqrt(-2 * std::log(uniform(random))) * std::cos(6.283185307179586 * uniform(random));
  return std::min(24 * kMiB * std::exp(1.5 * normal), 2048 * kMiB);
}

void in_order(std::vector<Job>& jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) {
    return a.start_s != b.start_s ? a.start_s < b.start_s : a.node < b.node;
  });
}

}  // namespace

std::vector<Job> poisson_load(const PoissonLoad& o, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  constexpr double a = 1.1;  // of the Pareto distribution
  const double low = o.work_min_s;
  const double high = o.work_max_s;
  const double mean_s = std::pow(low, a) / (1 - std::pow(low / high, a)) * a / (a - 1) *
                        (1 / std::pow(low, a - 1) - 1 / std::pow(high, a - 1));
  const double rate = static_cast<double>(o.nodes) * o.capacity_per_node * o.utilisation / mean_s;
  const auto hot = std::max<std::size_t>(
      1, static_cast<std::size_t>(static_cast<double>(o.nodes) * o.hot_nodes));
  std::vector<Job> jobs;
  for (double now_s = 0;;) {
    now_s -= std::log(uniform(random)) / rate;
    if (now_s > o.duration_s) break;
    Job job;
    job.start_s = now_s;
    const bool is_hot = uniform(random) < o.hot_share;
    const auto among = is_hot || hot == o.nodes ? hot : o.nodes - hot;
    job.node = static_cast<std::size_t>(uniform(random) * static_cast<double>(among));
    if (!is_hot && hot < o.nodes) job.node += hot;
    job.work_s = std::pow(-(uniform(random) * (1 - std::pow(low / high, a)) - 1), -1 / a) * low;
    job.bytes = some_bytes(random);
    job.enabled = uniform(random) < o.enabled;
    // One in five waits for something half of the time.
    if (uniform(random) < 0.2) job.duty = 0.5;
    jobs.push_back(job);
  }
  in_order(jobs);
  return jobs;
}

std::vector<Job> burst_load(std::size_t count, double work_s, double bytes) {
  return std::vector<Job>(count, Job{.work_s = work_s, .bytes = bytes});
}

Result<std::vector<Job>> recorded_load(const std::string& path, std::size_t busy_nodes,
                                       double speed_up, std::uint64_t seed) {
  std::ifstream file(path);
  if (!file) return Error("open " + path + ": not there");
  std::vector<Job> record;
  std::string line;
  double last_s = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Job job;
    double mib = 0;
    if (!(words >> job.start_s >> job.work_s >> mib)) return Error(path + ": wrong line: " + line);
    job.bytes = mib * kMiB;
    last_s = std::max(last_s, job.start_s);
    record.push_back(job);
  }
  if (record.empty()) return Error(path + ": no jobs in it");
  std::mt19937_64 random(seed);
  std::vector<Job> jobs;
  for (std::size_t node = 0; node < busy_nodes; ++node) {
    const double shift_s = node == 0 ? 0 : uniform(random) * last_s;
    for (Job job : record) {
      job.node = node;
      job.start_s = std::fmod(job.start_s + shift_s, last_s) / speed_up;
      jobs.push_back(job);
    }
  }
  in_order(jobs);
  return jobs;
}

}  // namespace ssi::sim
