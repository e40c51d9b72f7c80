// Who gets the CPU when too many want it.
#pragma once

#include <sys/resource.h>

namespace ssi {

// A node is relieved when there is too much to do on it: whoever is to relieve it must not wait for
// a CPU like everybody else, with a process in his hands that stands still. What this process
// starts inherits it (criu, whose work that is); a restored process gets its own back from criu.
// Where it is not allowed (no CAP_SYS_NICE) it goes on as it was.
inline void go_first() {
  constexpr int kNice = -10;
  (void)::setpriority(PRIO_PROCESS, 0, kNice);
}

}  // namespace ssi
