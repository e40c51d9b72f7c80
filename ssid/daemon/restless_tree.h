// A tree in which processes begin and end all the time (a `make -j8`) can't be looked at while it
// runs: what is true of one process is over when the next one is looked at. It is frozen first, and
// stays so until it is moved, or until that comes to nothing.
//
// Rejected: to freeze every tree first. One that is at rest stands still for the dump only, not
// while criu is started and the other node makes its realm ready.
#pragma once

#include <sys/types.h>

#include <functional>

#include "migrate/move/frozen_copy.h"
#include "ssid/base/result.h"
#include "ssid/daemon/move_planner.h"

namespace ssi {

struct TreeToMove {
  pid_t first = 0;  // in this node's /proc
  // What the planner makes of it at the moment.
  std::function<Result<PreparedMove>()> look;
  // Frozen, and what must be before that: who waits to be let in can't be when it stands still.
  std::function<Result<migrate::FrozenCopy>()> hold;
  // What is to be undone of that when it goes on.
  std::function<void()> let_go;
};

// Any thread; milliseconds. `again`: it changed between the last look and the freeze.
Result<PreparedMove> prepare_tree(const TreeToMove& tree, bool again);

}  // namespace ssi
