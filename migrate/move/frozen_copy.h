// A process, or a tree of them, held by the freezer while it moves. Leaving the scope undecided is
// a bug and aborts: either it goes on here (thaw) or this copy must never run again (keep).
//
// Owned by the source's mover thread. If ssid dies, the copy stays frozen; its cgroup's name and
// attributes tell the next ssid what it was about.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "migrate/freezer/freezer_cgroup.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

class FrozenCopy {
 public:
  // Originals at home, a process and those that move with it: each moved into moving/NAME/PID
  // (remembering where it came from). They run on: to change a cgroup takes the kernel some 10 ms.
  // Frozen by freeze(), all at once.
  static Result<FrozenCopy> hold_originals(const FreezerRoot& root, const CopyName& name,
                                           const std::vector<pid_t>& pids);
  // A tree of originals in which processes begin and end all the time: likewise, and frozen
  // already, each in its own cgroup. `tree`: who is in it at the moment, or why that can't be
  // taken; its first process is `first`. kGone: that one has ended.
  static Result<FrozenCopy> freeze_tree(const FreezerRoot& root, const CopyName& name, pid_t first,
                                        const std::function<Result<std::set<pid_t>>()>& tree);
  // A guest, in the cgroup it lives in. Frozen by freeze().
  static Result<FrozenCopy> hold_guest(const FreezerRoot& root, const CopyName& current);
  // What an earlier ssid left behind in moving/NAME.
  static Result<FrozenCopy> adopt_originals(const FreezerRoot& root, const CopyName& name);

  FrozenCopy(FrozenCopy&& other) noexcept;
  FrozenCopy& operator=(FrozenCopy&&) = delete;
  ~FrozenCopy();

  // Returns when every thread stands still. An error leaves the processes to be thawed.
  Result<> freeze();
  // For a moment: it is still held, and is to be frozen again.
  Result<> let_run() { return cgroup_.thaw(); }
  // Of all of them.
  const FreezerCgroup& cgroup() const { return cgroup_; }
  // They go on as if nothing had been (originals go back to their own cgroups).
  Result<> thaw();
  // The commit took them: they stay frozen until they are destroyed or have become deputies.
  void keep() { decided_ = true; }

 private:
  FrozenCopy(FreezerCgroup cgroup, bool original)
      : cgroup_(std::move(cgroup)), original_(original) {}

  FreezerCgroup cgroup_;
  bool original_;
  bool decided_ = false;
};

// A copy that was frozen for a closer look: goes on when this ends, unless it was taken. `let_go`
// is called when it goes on.
class HeldForLook {
 public:
  using Clock = std::chrono::steady_clock;
  HeldForLook(FrozenCopy copy, Clock::time_point since, std::function<void()> let_go)
      : copy_(std::move(copy)), since_(since), let_go_(std::move(let_go)) {}
  HeldForLook(const HeldForLook&) = delete;
  HeldForLook& operator=(const HeldForLook&) = delete;
  ~HeldForLook();

  Clock::time_point since() const { return since_; }
  FrozenCopy take();

 private:
  std::optional<FrozenCopy> copy_;
  Clock::time_point since_;
  std::function<void()> let_go_;
};

// One of the originals in moving/NAME, in a cgroup of its own.
struct HeldOriginal {
  pid_t pid = 0;  // as it was when it was put there
  FreezerCgroup cgroup;
};
// What is in moving/NAME, each still frozen while the others are let go: for becoming deputies one
// by one. Again and again the same, whoever died in between.
Result<std::vector<HeldOriginal>> part_originals(const FreezerCgroup& all);

// Puts what is in an original's cgroup back to where it came from and removes the cgroup; for a
// thawed original as for a deputy.
Result<> leave_moving_cgroup(const FreezerCgroup& original);

}  // namespace ssi::migrate
