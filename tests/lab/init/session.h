// One command on a node, as sshd would run it: an own session, a clean environment, this process as
// its parent. Runs in a child of lab-init, one per command; it ends when the command has ended.
//
// If the asker goes away first, the command's process group gets SIGHUP, as on a lost terminal; a
// command that ignores it goes on.
#pragma once

#include "tests/lab/init/message.h"

namespace ssi::lab {

// Serves `socket` until the command has ended. Call it in a forked child only; never returns.
[[noreturn]] void run_session(UniqueFd socket, Message message);

// Undoes what lab-init did to signals and applies to no program it starts. Async-signal-safe.
void reset_signals();

}  // namespace ssi::lab
