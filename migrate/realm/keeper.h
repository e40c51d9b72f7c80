// The parent of one guest in its realm, and the leader of a session there: the guest's process
// group has a parent in its own session, so the kernel stops it as at home (SIGTSTP), and the
// session may have a controlling terminal. A process of its own, forked by the realm's init; it
// does nothing but start criu, wait for its children (also those that are left to it), and say how
// they changed.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// What waitpid(2) says.
struct ChildChange {
  pid_t pid = 0;
  int status = 0;
};

// Init's side. Owned by it.
struct Keeper {
  pid_t child = 0;   // criu
  UniqueFd changes;  // SEQPACKET of ChildChange; ends with the keeper, when it has no child left

  // Forks it. `terminal`, or -1: becomes the session's controlling terminal. `become_child` runs in
  // criu's process, alone in a process group in the foreground, and does not return; only calls
  // that are safe after a fork.
  static Result<Keeper> start(int terminal, const std::function<void()>& become_child);

  // The next change that is there already; nothing (false in `open`): it has ended.
  std::optional<ChildChange> next(bool& open) const;
};

}  // namespace ssi::migrate
