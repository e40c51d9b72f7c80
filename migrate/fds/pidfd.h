// Handles on processes (pidfd). Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace ssi::fds {

// As /proc/PID/fdinfo shows it: "Pid:", which is -1 when that process has ended and was waited for,
// and 0 when it lives where we can't see it.
pid_t pidfd_target(const std::string& fdinfo);

// Why the processes `moving`, one of which has it, can't take it along; as the end of a sentence.
// None: they can, for it is a handle on one of them, or on a process that is gone. `flags` as of
// open(2).
std::optional<std::string> pidfd_why_not(pid_t target, std::uint32_t flags,
                                         const std::set<pid_t>& moving);

}  // namespace ssi::fds
