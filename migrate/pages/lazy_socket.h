// Where a restoring criu (`lazy_pages`) hands over the userfaultfd through which the memory of the
// restored process is installed: its socket lazy-pages.socket in the images' directory.
//
//   criu: connects; for each process {pid i32, descriptor}, for each dead one {-pid i32}; at the
//   end {0x52535446 u32}. Source: criu/uffd.c (send_uffd, lazy_pages_finish_restore).
//
// Made and ended by the target's mover thread; a thread of its own waits in take_uffd.
#pragma once

#include <sys/types.h>

#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class LazySocket {
 public:
  // `dir`: the images' directory, which will be criu's working directory.
  static Result<LazySocket> listen(const std::string& dir);

  // The first process's. Blocks until criu has given it, criu is gone, or abort().
  Result<UniqueFd> take_uffd();
  // Any thread: take_uffd returns an error.
  void abort() const;

 private:
  LazySocket(UniqueFd listener, UniqueFd wake)
      : listener_(std::move(listener)), wake_(std::move(wake)) {}
  Result<> wait_for(int fd) const;

  UniqueFd listener_;
  UniqueFd wake_;
  UniqueFd connection_;  // kept: criu writes its last word to it
};

}  // namespace ssi::migrate
