// From a forked process to a criu that serves one RPC connection.
#pragma once

#include <span>
#include <string>

namespace ssi::migrate {

// fds[0] is the cgroup.procs to be born in; the others become 3, 4, ... (realm_protocol.h), nothing
// else stays open. Between fork and exec; alone in a new process group.
[[noreturn]] void become_criu(const std::string& criu_dir, std::span<const int> fds);

}  // namespace ssi::migrate
