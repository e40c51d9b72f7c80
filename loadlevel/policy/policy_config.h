// What may be configured about the planner: section [loadlevel] of ssid.toml, one number per key.
#pragma once

#include <span>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi {

struct PolicyConfig {
  double min_age_s = 1;
  double min_demand = 0.1;
  double min_gain = 0.1;
  double stability_factor = 1.15;
  double payback_factor = 3;
  double horizon_max_s = 60;
  double residence_s = 5;
  double residence_growth = 1.5;
  double residence_max_s = 60;
  double refusal_s = 10;
  double refusal_max_s = 600;
  double home_preference = 0.05;
  double memory_weight = 2;
  double memory_steepness = 20;
  double memory_reserve = 0.1;
  double usher_start = 0.05;
  double usher_stop = 0.1;
  double usher_lookahead_s = 5;
  double link_mib_s = 100;
  double freeze_ms = 50;
  double moves_per_tick = 4;
  double moves_per_target = 4;
  double targets_sampled = 4;
  double stale_after_s = 5;
};

// One entry per key: for reading a config, for the documentation and its test.
struct PolicyKey {
  std::string_view name;
  double PolicyConfig::*member;
  double least;
  double most;
  std::string_view meaning;
};
std::span<const PolicyKey> policy_keys();

// Sets one key; unknown names and numbers out of range are refused in plain words.
Result<> set_policy_key(PolicyConfig& config, std::string_view name, double value);

}  // namespace ssi
