// Files in /dev/shm that nobody has open at the moment, and that processes of a unit will open
// again by their names: a database server's parallel workers hand each other such segments, and one
// may end before the next one begins.
//
// Whose a file is that nobody has open is written nowhere. It is taken for a unit's if the unit has
// one open of the same *series* (the same owner, and a name that differs in the number at its end
// only: PostgreSQL.17, psm_3fa2) and nobody else on the node has. Rejected: all files of that owner
// (what his other programs will look for would be gone), and telling by their age (a file that came
// along with a guest is as old as its last move).
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ssi::fds {

// "PostgreSQL." of "PostgreSQL.17"; empty if it has no number (decimal or hexadecimal) after its
// last '.', '_' or '-'.
std::string_view series_of(std::string_view name);

// Names below the /dev/shm of the first process; without those in `open`, which the processes have
// open.
std::vector<std::string> closed_shm_files(const std::vector<pid_t>& pids,
                                          const std::set<std::string>& open);

}  // namespace ssi::fds
