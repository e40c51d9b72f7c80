// Leases (fcntl F_SETLEASE) of processes that move. A lease belongs to the open file and is a
// promise of one kernel: nobody opens the file in a conflicting way before its owner was told and
// has let go, or its time was up.
//
// Away from home two kernels keep it. Home's carrier has the very open file that took it, as for
// flock() (held_file.h), so home's kernel goes on to stop who opens the file there. The guest's own
// kernel has one on the file of the view, that criu takes as on any file; the view breaks it when
// home's is broken, and home's carrier lets go when the guest has (fs/view/leases.h). At home the
// restored process gets the very open file back.
//
// Whom the kernel signals belongs to the open file, too. For as long as home's carrier has it, that
// is nobody: the carrier looks, and the deputy, which has the process's number, is not bothered.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "migrate/fds/file_lock.h"
#include "migrate/fds/held_file.h"
#include "ssid/base/result.h"

namespace ssi::fds {

// Who is told when the lease is broken, and how.
struct LeaseSignal {
  pid_t to = 0;    // in this node's /proc; 0: nobody; -1: a thread or a process group
  int number = 0;  // 0: SIGIO
  bool operator==(const LeaseSignal&) const = default;
};
Result<LeaseSignal> lease_signal_of(int fd);

// Pure. What keeps a file with this lease where it is; "" if nothing does. `flags` of open(2).
std::string lease_that_stays(const HeldLocks& locks, std::uint32_t flags);

// Pure. Whether any other opening of the file would break it, if only for reading.
bool excludes_openings(const Lease& lease);

// Nobody is told of its leases any more. `pid`, which is frozen, becomes a deputy.
void silence_leases(pid_t pid);

// At home, of the held open file: before criu gives it to the restored process, and after. The
// second one fails if the lease was broken meanwhile. `pid` and `owner` in this node's /proc.
Result<> prepare_lease(int fd, const HeldFile& held);
Result<> finish_lease(pid_t pid, pid_t owner, const HeldFile& held);

}  // namespace ssi::fds
