// What /proc says of a process. Any thread; the process may end at any time.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ssi {

// What stands after "NAME:", as the kernel writes it. Empty: no such process, or no such line.
std::string proc_status_line(pid_t pid, std::string_view name);

// Its PID in the innermost of its PID namespaces, which is the one that it sees itself; 0 if it is
// gone.
pid_t innermost_pid(pid_t pid);

// The last of the numbers on a line: of "NSpid", "NSpgid", "NSsid" as the process sees it itself. 0
// if it is gone.
pid_t innermost_number(pid_t pid, std::string_view name);

// Real, effective, saved: of "Uid" or "Gid". nullopt: it is gone.
using ProcIds = std::array<std::uint32_t, 3>;
std::optional<ProcIds> proc_ids(pid_t pid, std::string_view name);

// Its children, of whichever thread; none if it is gone.
std::vector<pid_t> children_of(pid_t pid);

// The numbers of its threads; none if it is gone.
std::vector<pid_t> threads_of(pid_t pid);

}  // namespace ssi
