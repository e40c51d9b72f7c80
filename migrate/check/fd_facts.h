// The open descriptors of a process.
#pragma once

#include <string>
#include <vector>

#include "migrate/check/facts.h"
#include "migrate/check/proc_dir.h"

namespace ssi::check {

// Descriptors closed while we look are left out. `holders` is not filled in.
Result<std::vector<FdFact>> read_fds(const ProcDir& proc);

}  // namespace ssi::check
