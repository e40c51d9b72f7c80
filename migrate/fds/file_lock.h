// Locks of open files: which kinds a process holds, and which of them move with it. Pure.
//
// A flock() lock belongs to the open file, and so do record locks of fcntl(F_OFD_SETLK). Home's
// carrier keeps that one open while the process moves, and hands it to the guest's new opening
// (fs/store/ops_held.cc), so there is no moment in which somebody else could take the lock. A
// record lock of fcntl(F_SETLK) belongs to the process
// at home, and the kernel has no way to give it to another one. One for reading may have several
// owners at a time: whoever gets it takes it before the other lets go. One for writing stays with
// the process at home, which keeps it as the guest's deputy (fs/store/deputy_locks.h), and does not
// come home again: to let go and take it anew would be such a moment. A lease is kept by two
// kernels, see lease.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/lease.h"
#include "ssid/wire/carrier/lock_range.h"

namespace ssi::fds {

struct HeldLocks {
  std::uint32_t flock = 0;           // LOCK_SH or LOCK_EX; 0: none
  std::vector<LockRange> of_file{};  // fcntl(F_OFD_SETLK)
  // fcntl(F_SETLK), lockf(3); of the process, told with the descriptor by which it locked.
  std::vector<LockRange> of_process{};
  Lease lease{};              // fcntl(F_SETLEASE), of this kernel
  bool lease_of_home = true;  // of a guest's file: home's kernel has that lease, too
  bool delegation = false;    // fcntl(F_SETDELEG)
  bool at_home = false;       // of a guest's file: home's store has them, and not a kernel
  bool belong_to_file() const { return flock != 0 || !of_file.empty() || lease.any(); }
  bool any() const { return belong_to_file() || !of_process.empty() || delegation; }
  bool operator==(const HeldLocks&) const = default;
};

// From the text of /proc/PID/fdinfo/FD.
HeldLocks parse_locks(std::string_view fdinfo);

bool has_write_lock(const std::vector<LockRange>& ranges);

// What keeps a process with these locks where it is: "a delegation"; "" if nothing does.
// `is_guest`: it has a deputy already.
std::string lock_that_stays(const HeldLocks& locks, bool is_guest);

}  // namespace ssi::fds
