// Named pipes of a process that comes: what waits in those that are here already must not be put
// there before the move is decided, as it would stay there whatever becomes of it.
//
// Owned by the target's mover; one thread.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/fds/duplex_fifo.h"
#include "migrate/move/image_dir.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class TargetFifos {
 public:
  // `deputies`: of all that come, if this is their home: they keep those that went along.
  explicit TargetFifos(const std::vector<pid_t>& deputies);

  // An end of one that the process has as a stream: it is at home, with what is in it.
  void add_stream(const std::string& key) { streams_.insert(key); }
  // files.img, in which both ends of those have the same name, with one for each.
  Result<std::string> with_ends(std::string_view files) const;

  // Takes what waits out of the images.
  Result<> leave_out(const ImageDir& images);
  // After the commit: what was in them, behind what was written here meanwhile.
  Result<> fill() const;

 private:
  struct Kept {
    fds::DuplexFifo fifo;
    UniqueFd held;
    std::string contents{};
  };
  std::set<std::string> streams_;
  std::vector<Kept> kept_;
};

}  // namespace ssi::migrate
