// The cgroup v2 freezer as the thing that holds a process which must not run.
//
// Why not SIGSTOP: the parent would get SIGCHLD/CLD_STOPPED and a shell would print "Stopped". Why
// not ptrace: it ends with the tracer. A frozen cgroup outlives ssid and criu, and its name says
// what it is for.
//
//   <root>/moving/HOME-PID-EPOCH   a source's copy while it moves
//   <root>/guests/HOME-PID-EPOCH   a guest, frozen until its commit is delivered
//
// Blocking calls (milliseconds), any thread, one thread per object.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// Which process at which epoch a freezer cgroup is for; printed as its directory name.
struct CopyName {
  SsiPid pid;
  Epoch epoch;

  std::string to_string() const;
  static std::optional<CopyName> parse(std::string_view text);
  auto operator<=>(const CopyName&) const = default;
};

// A handle to one cgroup directory. Does not remove it on destruction: that is a decision.
class FreezerCgroup {
 public:
  // Makes the directory if it is missing.
  static Result<FreezerCgroup> create(const std::string& dir);
  static Result<FreezerCgroup> open(const std::string& dir);

  const std::string& dir() const { return dir_; }

  Result<> add(pid_t pid) const;
  Result<std::vector<pid_t>> pids() const;
  // Of the process in it that calls itself `inside`; kGone: there is none.
  Result<pid_t> pid_of(pid_t inside) const;
  // Asks for the freeze and waits until the kernel says that every task stands still.
  Result<> freeze(std::chrono::milliseconds timeout) const;
  // Asks only: tasks that are held by a tracer freeze when the tracer lets go.
  Result<> freeze_nowait() const;
  Result<> thaw() const;
  // SIGKILL to everything inside, frozen or not, and waits until it is empty.
  Result<> kill(std::chrono::milliseconds timeout) const;
  // Removes the (empty) directory.
  Result<> remove() const;
  // For handing to a process in another pid namespace, which then writes "0" or its own view of a
  // PID.
  Result<UniqueFd> open_procs() const;
  // For whoever has to end all inside by writing "1".
  Result<UniqueFd> open_kill() const;

 private:
  explicit FreezerCgroup(std::string dir) : dir_(std::move(dir)) {}
  Result<> wait_event(const char* line, std::chrono::milliseconds timeout) const;

  std::string dir_;
};

// <cgroup2 mount>/ssid with moving/ and guests/ below it.
class FreezerRoot {
 public:
  // Finds the cgroup v2 mount in /proc/self/mounts and makes the directories.
  static Result<FreezerRoot> open();

  const std::string& mount() const { return mount_; }
  std::string moving(const CopyName& name) const { return root_ + "/moving/" + name.to_string(); }
  std::string guest(const CopyName& name) const { return root_ + "/guests/" + name.to_string(); }
  // For criu itself, out of the guest's cgroup.
  std::string workers() const { return root_ + "/workers"; }
  std::vector<CopyName> list_moving() const { return list(root_ + "/moving"); }
  std::vector<CopyName> list_guests() const { return list(root_ + "/guests"); }
  // The directory of the cgroup v2 a process is in now, to put it back there.
  Result<std::string> cgroup_of(pid_t pid) const;

 private:
  FreezerRoot(std::string mount, std::string root)
      : mount_(std::move(mount)), root_(std::move(root)) {}
  static std::vector<CopyName> list(const std::string& dir);

  std::string mount_;
  std::string root_;
};

}  // namespace ssi::migrate
