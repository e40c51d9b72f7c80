// Which pages of a running process were written since they were last copied.
//
// The kernel write-protects a page when it is taken here and lifts that by itself at the first
// write (userfaultfd, asynchronous mode; PAGEMAP_SCAN): the process notices a slower first write,
// no more. Only private anonymous memory is watched; all else counts as written at all times.
//
// While it is watched, the kernel does not join a new mapping of the process to a watched one
// beside it. A program that then moves both with one mremap gets EFAULT, as it would if they had
// never been of one kind. (glibc's realloc moves only what it mapped at once.)
//
// A mapping that is moved (mremap) is not watched any more, and neither is what it becomes one with
// where it goes: the kernel forgets about the whole. So before each look what has been forgotten is
// looked for, watched anew, and counts as written.
//
// Not seen: writes of devices into pages that were pinned before (O_DIRECT, AIO). blind_spot()
// finds a process that may have such.
//
// Owned by one mover's thread. If ssid dies, the kernel takes everything back by itself.
#pragma once

#include <sys/types.h>

#include <string>

#include "migrate/pages/page_ranges.h"
#include "migrate/pages/uffd_helper.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PageTracker {
 public:
  // kRefused: this process can't be watched.
  static Result<PageTracker> start(pid_t pid, const OpenUserfaultfd& open);

  // The pages that hold something and were written since they were last taken, or never taken;
  // watched from now on.
  Result<PageRanges> take_written();
  // The pages that were taken and not written since. Final if the process is frozen.
  Result<PageRanges> unwritten() const;

 private:
  PageTracker(pid_t pid, UniqueFd uffd, UniqueFd pagemap)
      : pid_(pid), uffd_(std::move(uffd)), pagemap_(std::move(pagemap)) {}
  Result<bool> watch_all();
  Result<bool> is_lost(PageRange range) const;
  Result<PageRanges> unwatched(PageRange area) const;
  bool watch_anew(PageRange range) const;

  pid_t pid_;
  UniqueFd uffd_;
  UniqueFd pagemap_;
  PageRanges watched_;
};

// Why devices might write into its memory without the kernel's noticing; "" if nothing says so.
std::string blind_spot(pid_t pid);

}  // namespace ssi::migrate
