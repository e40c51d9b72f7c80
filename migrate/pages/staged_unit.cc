#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {

Result<StagedMemory*> StagedUnit::of(PageOwner owner) {
  const auto known = memories_.find(owner);
  if (known != memories_.end()) return &known->second;
  if (memories_.size() == kOwnersMax) return Error("memory of too many processes");
  SSI_ASSIGN(StagedMemory memory, StagedMemory::create(bytes_max_));
  return &memories_.emplace(owner, std::move(memory)).first->second;
}

Result<> StagedUnit::on_open(PageOwner owner) {
  SSI_ASSIGN(now_, of(owner));
  return {};
}

Result<> StagedUnit::on_run(const PageRun& run) {
  if (!run.has_data()) return Error("memory was announced and not sent");
  return now_->begin(run.range());
}

Result<> StagedUnit::on_data(std::span<const std::uint8_t> bytes) {
  received_bytes_ += bytes.size();
  std::uint64_t all = 0;
  for (const auto& [owner, memory] : memories_) all += memory.file_bytes();
  if (all > bytes_max_) return Error("it is larger than was offered");
  return now_->add(bytes);
}

Result<> StagedUnit::on_parent_query(PageOwner) { return Error("memory out of turn"); }

Result<> StagedUnit::on_close() { return Error("memory out of turn"); }

}  // namespace ssi::migrate
