// A process held by the freezer while it moves. Leaving the scope undecided is a bug and aborts:
// either the process goes on here (thaw) or this copy must never run again (keep).
//
// Owned by the source's mover thread. If ssid dies, the copy stays frozen; its cgroup's name and
// attributes tell the next ssid what it was about.
#pragma once

#include "migrate/freezer/freezer_cgroup.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

class FrozenCopy {
 public:
  // An original at home: moved into moving/NAME (remembering where it came from). It runs on: to
  // change its cgroup takes the kernel some 10 ms. Frozen by freeze().
  static Result<FrozenCopy> hold_original(const FreezerRoot& root, const CopyName& name, pid_t pid);
  // A guest, in the cgroup it lives in. Frozen by freeze().
  static Result<FrozenCopy> hold_guest(const FreezerRoot& root, const CopyName& current);
  // What an earlier ssid left behind in moving/NAME.
  static Result<FrozenCopy> adopt_original(const FreezerRoot& root, const CopyName& name);

  FrozenCopy(FrozenCopy&& other) noexcept;
  FrozenCopy& operator=(FrozenCopy&&) = delete;
  ~FrozenCopy();

  // Returns when every thread stands still. An error leaves the process to be thawed.
  Result<> freeze();
  const FreezerCgroup& cgroup() const { return cgroup_; }
  // The process goes on as if nothing had been (an original goes back to its own cgroup).
  Result<> thaw();
  // The commit took it: it stays frozen until it is destroyed or has become the deputy.
  void keep() { decided_ = true; }

 private:
  FrozenCopy(FreezerCgroup cgroup, bool original)
      : cgroup_(std::move(cgroup)), original_(original) {}

  FreezerCgroup cgroup_;
  bool original_;
  bool decided_ = false;
};

// Puts what is in an original's moving/ cgroup back to where it came from and removes the cgroup;
// for a thawed original as for a deputy.
Result<> leave_moving_cgroup(const FreezerCgroup& cgroup);

}  // namespace ssi::migrate
