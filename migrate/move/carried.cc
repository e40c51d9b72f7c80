#include "migrate/move/carried.h"

#include "migrate/criu/core_image.h"
#include "migrate/criu/fifo_image.h"
#include "ssid/base/proc_status.h"

namespace ssi::migrate {

Result<Carried> read_carried(const ImageDir& images, const std::vector<pid_t>& originals) {
  Carried carried;
  // The kernel tells which signals wait, but not how many of each; the images do.
  for (const pid_t pid : originals) {
    for (const pid_t tid : threads_of(pid)) {
      SSI_ASSIGN(const std::string core, images.read(core_image_name(tid)));
      SSI_ASSIGN(const auto signals, signals_in_core(core));
      auto& of_process = carried.signals[pid];
      of_process.insert(of_process.end(), signals.begin(), signals.end());
    }
  }
  carried.fifo_bytes.emplace();
  if (images.names(kFifoDataImage).empty()) return carried;
  SSI_ASSIGN(const std::string fifos, images.read(kFifoDataImage));
  SSI_ASSIGN(const auto waiting, what_waits_in_fifos(fifos));
  for (const auto& [inode, bytes] : waiting) {
    (*carried.fifo_bytes)[inode] = static_cast<std::uint32_t>(bytes.size());
  }
  return carried;
}

}  // namespace ssi::migrate
