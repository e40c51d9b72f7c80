// A userfaultfd for another process's memory: the call has to be made by that process, so it is
// made to make it, by ptrace.
#pragma once

#include <sys/types.h>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// Opens one in `pid` (all its threads stand still meanwhile, about a millisecond; system calls that
// it was in go on), takes it over and closes it there. Errors: kRefused if this process can't be
// made to (traced, stopped, seccomp, 32-bit): nothing has happened to it then.
Result<UniqueFd> open_userfaultfd_in(pid_t pid);

}  // namespace ssi::migrate
