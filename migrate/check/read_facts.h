// The facts about a process, from /proc.
#pragma once

#include <sys/types.h>

#include <vector>

#include "migrate/check/facts.h"
#include "ssid/base/result.h"

namespace ssi::check {

// `pid` in our PID namespace, guests included. As root: needs to read other users' descriptors and
// memory maps. Takes a millisecond or so, some tens if it has pipes or shared memory, whose other
// owners are looked for in all processes. Any thread. The process may run meanwhile: the facts are
// true one by one, not as one moment. kGone: no such process, or it ended meanwhile (also if its
// PID was used again). kRefused: it has capabilities that we lack, so the kernel does not let us
// look.
Result<ProcessFacts> read_facts(pid_t pid);

// The facts about `root` and all below it, `root` first; without those that have ended and wait for
// their parents, which are nobody's children then. One walk through all processes for all of them.
// kRefused: more than `most`, or too many descriptors.
Result<std::vector<ProcessFacts>> read_tree_facts(pid_t root, std::size_t most);

}  // namespace ssi::check
