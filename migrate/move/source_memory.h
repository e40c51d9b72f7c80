// The memory of what moves, at its source: sent ahead while it runs, then what criu dumps of it
// passed on as far as the target does not have it. One process by itself is watched (EarlyCopy), a
// unit of several is compared (UnitCopy). Owned by the source's mover thread.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "migrate/pages/early_copy.h"
#include "migrate/pages/page_pump.h"
#include "migrate/pages/unit_copy.h"

namespace ssi::migrate {

class SourceMemory {
 public:
  using Send = std::function<Result<>(std::span<const std::uint8_t>)>;

  // `pids`: in our PID namespace, the first one first.
  SourceMemory(const std::vector<pid_t>& pids, OpenUserfaultfd open, Send send);

  // An error: the link is broken, or the process is gone.
  Result<> send_ahead();
  const std::string& why_not() const { return unit_ ? unit_->why_not() : early_->why_not(); }
  std::uint64_t sent_bytes() const { return unit_ ? unit_->sent_bytes() : early_->sent_bytes(); }

  // Of what stands still: what criu need not read, and its news, by another thread than the pump's.
  std::vector<SentMemory> sent_memory() const;
  Result<> finish();
  std::uint64_t finished_bytes() const { return unit_ ? unit_->anonymous().kept_bytes() : 0; }

  // Of what stands still. `socket`: our end of criu's page stream; `send` is called by its run().
  PagePump pump(UniqueFd socket, Send send);

 private:
  PageOwner owner_;
  std::optional<EarlyCopy> early_;  // one of the two
  std::optional<UnitCopy> unit_;
};

}  // namespace ssi::migrate
