// The open descriptors of a process.
#pragma once

#include <string>
#include <vector>

#include "migrate/check/facts.h"
#include "migrate/check/file_systems.h"
#include "migrate/check/proc_dir.h"

namespace ssi::check {

// Descriptors closed while we look are left out. `holders` is not filled in, and of unix sockets is
// only said that they are some.
Result<std::vector<FdFact>> read_fds(const ProcDir& proc);

// Of unix sockets, too, with what is in flight to them.
Result<std::vector<FdFact>> read_all_fds(const ProcDir& proc);

// One of them. `terminal`: what counts as a terminal though it is no pseudo-terminal; 0: nothing.
// `owner`: the process whose names for files count, if `proc` only holds it for that one.
Result<FdFact> read_fd(const ProcDir& proc, const std::string& number, dev_t terminal,
                       const ProcDir& owner, FileSystems& systems);

}  // namespace ssi::check
