#include "migrate/move/opened_ahead.h"

#include <utility>

namespace ssi::migrate {

void OpenedAhead::start(UniqueFd root, std::vector<fds::FileInUse> files) {
  opening_ = std::jthread([this, root = std::move(root), files = std::move(files)] {
    opened_ = fds::open_files(*root, files);
  });
}

void OpenedAhead::wait() {
  if (opening_.joinable()) opening_.join();
}

}  // namespace ssi::migrate
