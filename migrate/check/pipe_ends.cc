#include "migrate/check/pipe_ends.h"

namespace ssi::check {

void PipeEnds::add(const std::vector<FdFact>& fds) {
  for (const FdFact& fd : fds) {
    if (!is_pipe(fd)) continue;
    Ends& ends = ends_[{fd.device, fd.inode}];
    ends.read |= may_read(fd);
    ends.written |= may_write(fd);
    ends.duplex |= may_read(fd) && may_write(fd);
  }
}

void PipeEnds::pair(std::vector<FdFact>& fds) const {
  for (FdFact& fd : fds) {
    const auto ends = ends_.find({fd.device, fd.inode});
    if (!is_pipe(fd) || ends == ends_.end()) continue;
    fd.other_end_inside = ends->second.read && ends->second.written;
    fd.duplex_inside = ends->second.duplex;
  }
}

}  // namespace ssi::check
