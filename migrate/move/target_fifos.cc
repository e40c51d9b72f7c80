#include "migrate/move/target_fifos.h"

#include "migrate/criu/fifo_image.h"
#include "migrate/criu/files_image.h"
#include "migrate/fds/descriptor.h"
#include "migrate/fds/fifo.h"

namespace ssi::migrate {

TargetFifos::TargetFifos(const std::vector<pid_t>& deputies) {
  std::set<std::uint32_t> seen;
  for (const pid_t deputy : deputies) {
    for (fds::DuplexFifo& fifo : fds::duplex_fifos(deputy)) {
      auto held = fds::descriptor_of(deputy, fifo.number);
      if (!held || !seen.insert(fifo.criu_number()).second) continue;
      kept_.push_back({std::move(fifo), std::move(*held)});
    }
  }
}

Result<std::string> TargetFifos::with_ends(std::string_view files) const {
  return with_fifo_ends(files, streams_);
}

Result<> TargetFifos::leave_out(const ImageDir& images) {
  std::set<std::uint32_t> inodes;
  for (const std::string& key : streams_) {
    if (const auto inode = fds::inode_of_fifo(key)) inodes.insert(*inode);
  }
  for (const Kept& kept : kept_) inodes.insert(kept.fifo.criu_number());
  if (inodes.empty()) return {};
  return images.change(kFifoDataImage, [&](std::string_view image) -> Result<std::string> {
    SSI_ASSIGN(auto waiting, what_waits_in_fifos(image));
    for (Kept& kept : kept_) kept.contents = waiting[kept.fifo.criu_number()];
    return without_fifos(image, inodes);
  });
}

Result<> TargetFifos::fill() const {
  for (const Kept& kept : kept_) {
    SSI_TRY(fds::fill_fifo(*kept.held, kept.contents).context(kept.fifo.path));
  }
  return {};
}

}  // namespace ssi::migrate
