#include "migrate/move/target_memory.h"

namespace ssi::migrate {
namespace {
Error not_whole() { return Error("the memory did not arrive whole"); }
}  // namespace

Result<> TargetMemory::end_early(const EarlyDone& done) const {
  if (early_.data_left() > 0 || done.memory_bytes != staged_.received_bytes()) return not_whole();
  return {};
}

Result<> TargetMemory::end_dump(const DumpDone& done) {
  frozen_bytes_ = images_.bytes();
  const std::uint64_t all = staged_.received_bytes() + frozen_bytes_;
  if (!dump_.closed() || early_.data_left() > 0 || done.memory_bytes != all) return not_whole();
  return {};
}

}  // namespace ssi::migrate
