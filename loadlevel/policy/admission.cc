#include "loadlevel/policy/admission.h"

#include "loadlevel/policy/cost.h"
#include "loadlevel/policy/words.h"

namespace ssi {

double source_slowdown(const ClusterLoad& view) {
  const NodeLoad* self = view.find(view.here);
  return self ? slowdown(Level::of(*self, self->speed_mhz)) : 1;
}

Result<> admit(const ClusterLoad& view, const PolicyConfig& config, const Arrival& arrival) {
  const auto refuse = [&](const std::string& why) { return Error(ErrorCode::kRefused, why); };
  const NodeLoad* self = view.find(view.here);
  if (!self) return refuse("it does not know its own load yet");
  if (self->drained) return refuse("it is drained: it takes no guests until `cluster bring`");
  if (!self->accepting && !arrival.by_user && !arrival.must_leave)
    return refuse("it is not accepting guests");

  Level after = Level::of(*self, self->speed_mhz);
  after.add(arrival.demand, static_cast<double>(arrival.bytes));
  const double reserve = config.memory_reserve * after.memory_total_bytes;
  if (after.memory_total_bytes > 0 && after.memory_available_bytes < reserve) {
    return refuse(words("%s more would leave it less than %s of memory",
                        bytes_words(static_cast<double>(arrival.bytes)).c_str(),
                        bytes_words(reserve).c_str()));
  }
  if (arrival.by_user) return {};
  if (self->moves_arriving >= static_cast<int>(config.moves_per_target)) {
    return refuse(words("%d processes are on their way to it", self->moves_arriving));
  }
  // The source's slowdown is in its own seconds; bring ours to its speed.
  const NodeLoad* source = view.find(arrival.from);
  double scale = 1;
  if (source && source->speed_mhz > 0 && self->speed_mhz > 0)
    scale = source->speed_mhz / self->speed_mhz;
  if (!arrival.must_leave &&
      arrival.source_slowdown < slowdown(after) * scale * config.stability_factor) {
    return refuse(words("with what is on its way it would have %.1f runnable tasks on %s",
                        after.runnable, cpus_words(after.cpus).c_str()));
  }
  return {};
}

}  // namespace ssi
