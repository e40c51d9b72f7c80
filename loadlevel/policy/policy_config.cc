#include "loadlevel/policy/policy_config.h"

#include <array>

#include "loadlevel/policy/words.h"

namespace ssi {
namespace {

using C = PolicyConfig;
constexpr double kMuch = 1e6;
constexpr std::array kKeys = {
    PolicyKey{"min_age_s", &C::min_age_s, 0, kMuch,
              "a process must have wanted a CPU for so long before it is moved"},
    PolicyKey{"min_demand", &C::min_demand, 0, 1,
              "a process that wants less of a CPU is left alone"},
    PolicyKey{"min_gain", &C::min_gain, 0, kMuch,
              "least saving of a move, in seconds of waiting per second"},
    PolicyKey{"stability_factor", &C::stability_factor, 1, 100,
              "a process must run so many times faster at the target"},
    PolicyKey{"payback_factor", &C::payback_factor, 0, 100,
              "what a move saves must be so many times what it costs"},
    PolicyKey{"horizon_max_s", &C::horizon_max_s, 0, kMuch,
              "savings further ahead are not counted"},
    PolicyKey{"residence_s", &C::residence_s, 0, kMuch,
              "a process stays so long after its first move"},
    PolicyKey{"residence_growth", &C::residence_growth, 1, 10,
              "and so many times longer after each further one"},
    PolicyKey{"residence_max_s", &C::residence_max_s, 0, kMuch, "but never longer"},
    PolicyKey{"refusal_s", &C::refusal_s, 0, kMuch,
              "after a refused move it is not tried again for so long, doubled each time"},
    PolicyKey{"refusal_max_s", &C::refusal_max_s, 0, kMuch, "but never longer"},
    PolicyKey{"home_preference", &C::home_preference, 0, 10,
              "what being away from home costs, in seconds of waiting per second"},
    PolicyKey{"memory_weight", &C::memory_weight, 0, kMuch,
              "seconds of waiting per second and CPU when 95% of the memory is used"},
    PolicyKey{"memory_steepness", &C::memory_steepness, 0, 100,
              "how fast that grows: e to this power from empty to full"},
    PolicyKey{"memory_reserve", &C::memory_reserve, 0, 1,
              "part of its memory that a target keeps free"},
    PolicyKey{"usher_start", &C::usher_start, 0, 1,
              "memory ushering begins when less than this part of the memory is free"},
    PolicyKey{"usher_stop", &C::usher_stop, 0, 1, "and goes on until this part is free"},
    PolicyKey{"usher_lookahead_s", &C::usher_lookahead_s, 0, 600,
              "the trend of free memory is looked at so far ahead"},
    PolicyKey{"link_mib_s", &C::link_mib_s, 0.001, kMuch, "speed of the link until it is measured"},
    PolicyKey{"freeze_ms", &C::freeze_ms, 0, kMuch,
              "frozen time of a tiny process until it is measured"},
    PolicyKey{"moves_per_tick", &C::moves_per_tick, 0, 1000, "moves a node begins per second"},
    PolicyKey{"moves_per_target", &C::moves_per_target, 0, 1000,
              "moves to one target under way or begun at a time"},
    PolicyKey{"targets_sampled", &C::targets_sampled, 1, 1000,
              "so many targets, drawn by lot, are compared"},
    PolicyKey{"stale_after_s", &C::stale_after_s, 0.1, kMuch,
              "a node not heard of for so long is no target"},
};

}  // namespace

std::span<const PolicyKey> policy_keys() { return kKeys; }

Result<> set_policy_key(PolicyConfig& config, std::string_view name, double value) {
  for (const auto& key : kKeys) {
    if (key.name != name) continue;
    if (!(value >= key.least && value <= key.most)) {
      return Error(ErrorCode::kUsage,
                   words("loadlevel.%.*s: %g is not between %g and %g",
                         static_cast<int>(name.size()), name.data(), value, key.least, key.most));
    }
    config.*key.member = value;
    return {};
  }
  return Error(ErrorCode::kUsage, "loadlevel." + std::string(name) + ": no such key");
}

}  // namespace ssi
