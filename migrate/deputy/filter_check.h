// Whether a process under filters for system calls (seccomp) can be its own deputy. Filters can't
// be taken off, so either they let through what a deputy does, or it stays.
//
// Rejected: PTRACE_O_SUSPEND_SECCOMP, which takes them off for as long as there is a tracer. A
// deputy outlives ssid, and one that wakes under its filter again may be killed by it, which its
// parent would take for the end of the guest.
#pragma once

#include <sys/types.h>

#include "ssid/base/result.h"

namespace ssi::deputy {

// kRefused: they do not; with the reason. `has_deputy`: it is a guest, and only what criu can't
// restore is a reason. A process that has filters is stopped for a moment, by a thread of its own.
// Any thread; frozen or not. Needs CAP_SYS_PTRACE and CAP_SYS_ADMIN.
Result<> check_filters(pid_t pid, bool has_deputy);

}  // namespace ssi::deputy
