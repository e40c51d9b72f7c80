// A process in a realm that stands for one at home: the parent of guests. It has that process's PID
// where it is free, so getppid() of a guest says what it said at home; it leads a session, so the
// kernel stops a guest's process group (SIGTSTP) as it does at home, and a terminal can be the
// controlling one. It starts criu, which leaves the guest that it rebuilds to it, waits for its
// children, also for those that are left to it, and says how they changed. It keeps nothing else.
#pragma once

#include <sys/types.h>

#include <deque>
#include <optional>
#include <span>
#include <string>

#include "migrate/realm/stand_in_process.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// What waitpid(2) said. pid 0: it has no child any more.
struct ChildChange {
  pid_t pid = 0;
  int status = 0;
};

// The side of the realm's init, which is one thread. A call waits for the stand-in, for
// microseconds. Destroyed: the stand-in ends with its last child.
class StandIn {
 public:
  // For the process `home_pid` at home; another PID if that one is taken here.
  static Result<StandIn> start(pid_t home_pid, const std::string& criu_dir);

  pid_t stands_for() const { return home_pid_; }
  // True while a child is known to live, criu or guest.
  bool has_children() const { return has_children_; }
  int fd() const { return *socket_; }

  // Starts a criu (fds: become_criu.h); a terminal among them becomes the session's controlling one
  // if it has none. Gives criu's PID.
  Result<pid_t> spawn(std::span<const int> fds);
  // `guest` was rebuilt by `criu`: if that one's terminal is the controlling one, its process group
  // is in the foreground of it. Who may use the terminal is decided at home.
  Result<> put_in_foreground(pid_t criu, pid_t guest);

  // What has come by itself since; nothing (false in `open`): the stand-in is dead, its children
  // are init's.
  std::optional<ChildChange> next(bool& open);

 private:
  StandIn(pid_t home_pid, UniqueFd socket) : home_pid_(home_pid), socket_(std::move(socket)) {}
  Result<StandInMessage> ask(const StandInMessage& request, std::span<const int> fds);

  pid_t home_pid_ = 0;
  UniqueFd socket_;
  bool has_children_ = false;
  std::deque<ChildChange> changes_;  // that came while an answer was waited for
};

}  // namespace ssi::migrate
