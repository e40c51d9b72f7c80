// The memory of what moves, at its target, as it comes: ahead, then of what stands still, by criu's
// dump and beside it. Owned by the target's mover thread.
#pragma once

#include <cstdint>
#include <span>

#include "migrate/move/move_codec.h"
#include "migrate/pages/page_images.h"
#include "migrate/pages/page_stream.h"
#include "migrate/pages/staged_unit.h"

namespace ssi::migrate {

class TargetMemory {
 public:
  // `images_fd` stays the caller's. `alone`: the process that moves alone; 0: there are several.
  // More than `bytes_max` is an error.
  TargetMemory(int images_fd, std::uint64_t alone, std::uint64_t bytes_max)
      : staged_(bytes_max), images_(images_fd, staged_, alone) {}

  StagedUnit& staged() { return staged_; }

  // Sent ahead, or anonymous memory beside the dump.
  Result<> take_early(std::span<const std::uint8_t> bytes) { return early_.feed(bytes); }
  Result<> end_early(const EarlyDone& done) const;
  Result<> take_dump(std::span<const std::uint8_t> bytes) { return dump_.feed(bytes); }
  Result<> end_dump(const DumpDone& done);
  std::uint64_t frozen_bytes() const { return frozen_bytes_; }

 private:
  StagedUnit staged_;
  PageImages images_;
  PageStreamParser early_{staged_};
  PageStreamParser dump_{images_};
  std::uint64_t frozen_bytes_ = 0;
};

}  // namespace ssi::migrate
