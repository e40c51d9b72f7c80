#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {

Result<StagedMemory*> StagedUnit::of(PageOwner owner) {
  const auto known = memories_.find(owner);
  if (known != memories_.end()) return &known->second;
  if (memories_.size() == kOwnersMax) return Error("memory of too many processes");
  const auto layout = owner.kind == PageOwner::Kind::kAnonymous ? StagedMemory::Layout::kAsItIs
                                                                : StagedMemory::Layout::kAsItComes;
  SSI_ASSIGN(StagedMemory memory, StagedMemory::create(bytes_max_, layout));
  return &memories_.emplace(owner, std::move(memory)).first->second;
}

std::vector<std::pair<std::uint64_t, int>> StagedUnit::anonymous() const {
  std::vector<std::pair<std::uint64_t, int>> files;
  for (const auto& [owner, memory] : memories_) {
    if (owner.kind == PageOwner::Kind::kAnonymous) files.emplace_back(owner.id, memory.data_fd());
  }
  return files;
}

bool StagedUnit::is_anonymous(PageOwner owner) const {
  return owner.kind == PageOwner::Kind::kShmem &&
         memories_.contains({PageOwner::Kind::kAnonymous, owner.id});
}

Result<> StagedUnit::drop_others() {
  for (auto& [owner, memory] : memories_) {
    if (owner.kind == PageOwner::Kind::kAnonymous) SSI_TRY(memory.drop_others());
  }
  return {};
}

Result<> StagedUnit::on_open(PageOwner owner) {
  SSI_ASSIGN(now_, of(owner));
  now_is_anonymous_ = owner.kind == PageOwner::Kind::kAnonymous;
  return {};
}

Result<> StagedUnit::on_run(const PageRun& run) {
  if (run.has_data()) return now_->begin(run.range());
  if (!now_is_anonymous_) return Error("memory was announced and not sent");
  return now_->keep(run.range());
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
