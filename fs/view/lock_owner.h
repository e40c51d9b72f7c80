// Who is to own a record lock that a thread asks a view for: its process (F_SETLK), or the open
// file (F_OFD_SETLK). FUSE tells both in the same words; the thread itself stands in that call
// until it is answered, and /proc shows which one it is.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

namespace ssi::fs {

enum class LockOwner { kProcess, kOpenFile };

// From the text of /proc/TID/syscall. Nothing: it is in no such call (on its way into its sleep).
std::optional<LockOwner> lock_owner_in(std::string_view syscall);

// `thread` in our PID namespace. Waits for it to be asleep, some microseconds; a thread of which
// that can't be seen counts as its process. Any thread.
LockOwner lock_owner_of(pid_t thread);

}  // namespace ssi::fs
