#include "migrate/move/given_memory.h"

#include <fcntl.h>

#include "migrate/criu/memfd_image.h"

namespace ssi::migrate {

Result<> GivenMemory::add_to(std::vector<UniqueFd>& descriptors, int first_number,
                             const StagedUnit& staged) {
  for (const auto& [inode, file] : staged.anonymous()) {
    UniqueFd own(::fcntl(file, F_DUPFD_CLOEXEC, 0));
    if (!own) return Error::from_errno("hand memory over");
    numbers_[inode] = first_number + static_cast<int>(descriptors.size());
    descriptors.push_back(std::move(own));
  }
  return {};
}

Result<> GivenMemory::hand_over(StagedUnit& staged, ImageDir& images) const {
  if (numbers_.empty()) return {};
  SSI_TRY(staged.drop_others());
  return images.change(
      kMemfdImage, [this](std::string_view image) { return with_given_memory(image, numbers_); });
}

}  // namespace ssi::migrate
