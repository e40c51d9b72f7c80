// Cluster views for the tests of this room.
#pragma once

#include <string>
#include <vector>

#include "loadlevel/policy/plan.h"

namespace ssi::test {

constexpr std::int64_t kNow_us = 1'000'000'000;
constexpr std::uint64_t kMiB = 1024 * 1024;

inline NodeLoad node(std::uint32_t id, double runnable, int cpus = 1) {
  NodeLoad n;
  n.id = {id};
  n.cpus = cpus;
  n.speed_mhz = 2000;
  n.runnable = runnable;
  n.taken_us = kNow_us - 1'000'000;
  n.memory_total_bytes = 8192 * kMiB;
  n.memory_available_bytes = 6144 * kMiB;
  return n;
}

inline ProcessLoad job(int number, double wanted_s = 5, std::uint64_t bytes = 20 * kMiB,
                       std::uint32_t home = 1) {
  ProcessLoad p;
  p.pid = {{home}, static_cast<std::int32_t>(home) * SsiPid::kPidsPerNode + number};
  p.enabled = true;
  p.demand = 1;
  p.rss_bytes = bytes;
  p.wanted_s = wanted_s;
  return p;
}

// `jobs` equal ones on node 1, the other nodes as given.
inline ClusterLoad view(int jobs, std::vector<NodeLoad> others, int cpus = 1) {
  ClusterLoad v;
  v.here = {1};
  v.tick = 1;
  v.nodes.push_back(node(1, jobs, cpus));
  for (auto& n : others) v.nodes.push_back(n);
  for (int i = 1; i <= jobs; ++i) v.processes.push_back(job(i));
  return v;
}

inline const Evaluation* stay_of(const Plan& p, SsiPid pid) {
  for (const auto& e : p.stays) {
    if (e.pid == pid) return &e;
  }
  return nullptr;
}

inline std::string text(const std::vector<std::string>& reasons) {
  std::string all;
  for (const auto& r : reasons) all += r + "; ";
  return all;
}

}  // namespace ssi::test
