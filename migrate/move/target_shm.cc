#include "migrate/move/target_shm.h"

#include <unistd.h>

#include "migrate/fds/shm_file.h"

namespace ssi::migrate {

Result<> TargetShm::make(const ImageDir& images, RealmClient& realm) {
  const auto names = images.names(fds::kShmImages);
  if (names.empty()) return {};
  SSI_ASSIGN(dir_, realm.shared_memory());
  for (const std::string& image : names) {
    SSI_ASSIGN(auto made, fds::restore_shm_file(images.fd(), image, *dir_));
    names_.push_back(std::move(made));
  }
  return {};
}

void TargetShm::remove() const {
  for (const std::string& name : names_) (void)::unlinkat(*dir_, name.c_str(), 0);
}

}  // namespace ssi::migrate
