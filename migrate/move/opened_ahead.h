// Target: the files that processes will have open, opened while they are still dumped at the
// source, so that the view asks home for each once and not when criu opens them all. They stay open
// until this ends. Owned by the target's mover thread.
#pragma once

#include <thread>
#include <vector>

#include "migrate/fds/files_in_use.h"

namespace ssi::migrate {

class OpenedAhead {
 public:
  // `root`: of home's files.
  void start(UniqueFd root, std::vector<fds::FileInUse> files);
  void wait();

 private:
  std::vector<UniqueFd> opened_;  // the thread's until it was waited for
  std::jthread opening_;
};

}  // namespace ssi::migrate
