#include "migrate/move/source_memory.h"

#include "ssid/base/proc_status.h"

namespace ssi::migrate {
namespace {

// As criu will call it.
PageOwner owner_of(pid_t pid) {
  return {PageOwner::Kind::kProcess, static_cast<std::uint64_t>(innermost_pid(pid))};
}

}  // namespace

SourceMemory::SourceMemory(const std::vector<pid_t>& pids, OpenUserfaultfd open, Send send)
    : owner_(owner_of(pids.front())) {
  if (pids.size() == 1) {
    early_.emplace(pids.front(), owner_, std::move(open), std::move(send));
    return;
  }
  std::vector<UnitCopy::Process> processes;
  for (const pid_t pid : pids) processes.push_back({pid, owner_of(pid)});
  unit_.emplace(std::move(processes), std::move(send));
}

Result<> SourceMemory::send_ahead() { return unit_ ? unit_->run() : early_->run(); }

std::vector<SentMemory> SourceMemory::sent_memory() const {
  return unit_ ? unit_->anonymous().sent() : std::vector<SentMemory>();
}

Result<> SourceMemory::finish() { return unit_ ? unit_->anonymous().finish() : Result<>(); }

PagePump SourceMemory::pump(UniqueFd socket, Send send) {
  if (unit_) return {std::move(socket), unit_->sent(), std::move(send)};
  return {std::move(socket), owner_, early_->unchanged(), std::move(send)};
}

}  // namespace ssi::migrate
