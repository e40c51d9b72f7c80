// Sessions of the processes of a tree. A process is made anew in the session that its leader had
// begun when it forked it, or one of those between them: so the leader has to be above it, and
// whoever is between was in that session, too, when he forked. criu finds out only when it restores
// (prepare_pstree_ids), when all have stood still for a while. Pure.
#pragma once

#include <optional>
#include <string>

#include "migrate/check/tree.h"

namespace ssi::check {

// Why `tree` (the first is above all others) can't be made anew; nothing: it can.
std::optional<std::string> why_sessions_stay(const Tree& tree);

}  // namespace ssi::check
