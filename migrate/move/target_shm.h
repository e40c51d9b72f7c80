// Files in /dev/shm that come along with a process (migrate/fds/shm_file.h). Owned by the target's
// mover; one thread.
#pragma once

#include <string>
#include <vector>

#include "migrate/move/image_dir.h"
#include "migrate/realm/realm_client.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class TargetShm {
 public:
  // In the realm, from the images; before criu looks for them.
  Result<> make(const ImageDir& images, RealmClient& realm);
  // The process does not come.
  void remove() const;

 private:
  UniqueFd dir_;
  std::vector<std::string> names_;
};

}  // namespace ssi::migrate
