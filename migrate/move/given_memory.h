// Anonymous shared memory that was sent ahead is not written into criu's images and read back: the
// file in which it was staged becomes the memory. Owned by the target's mover.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "migrate/move/image_dir.h"
#include "migrate/pages/staged_unit.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class GivenMemory {
 public:
  // Behind what criu is given already, from `first_number` on.
  Result<> add_to(std::vector<UniqueFd>& descriptors, int first_number, const StagedUnit& staged);
  // What the source has dumped of it is in: criu is told to take it.
  Result<> hand_over(StagedUnit& staged, ImageDir& images) const;

 private:
  std::map<std::uint64_t, int> numbers_;  // by inode at the source
};

}  // namespace ssi::migrate
