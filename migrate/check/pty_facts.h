// Pseudo-terminals of processes: which sides of which they have, and who else has any.
#pragma once

#include <set>
#include <vector>

#include "migrate/check/facts.h"
#include "migrate/check/proc_dir.h"
#include "migrate/check/tree.h"
#include "migrate/fds/pty.h"
#include "ssid/base/proc_job.h"

namespace ssi::check {

// Fills in what the descriptors of one process tell, and pairs the sides that it has itself.
void add_pty_facts(const ProcDir& proc, const ProcJob& job, std::vector<FdFact>& fds);

bool has_masters(const std::vector<FdFact>& fds);

// Of another process.
struct PtyUse {
  std::set<fds::PtyName> open;  // either side
  pid_t session = 0;
};
PtyUse read_pty_use(const ProcDir& other);
// Pure.
void find_users_of_ptys(const PtyUse& use, const ProcessName& name, std::vector<FdFact>& fds);

// A slave whose master one of them has. Pure.
void pair_pty_sides(Tree& tree);

// Each pair once. Pure.
std::vector<fds::PtyToMove> ptys_to_move(const Tree& tree);

}  // namespace ssi::check
