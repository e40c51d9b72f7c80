#include "migrate/realm/keeper.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace ssi::migrate {
namespace {

constexpr int kChangesFd = 3;

void say(const ChildChange& change) {
  (void)::send(kChangesFd, &change, sizeof change, MSG_NOSIGNAL);
}

// All signals are blocked here, as in init: nobody stops or ends a keeper but the realm's end.
[[noreturn]] void keep(int changes, int terminal, const std::function<void()>& become_child) {
  ::prctl(PR_SET_NAME, "ssid-keeper");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::setsid();
  if (terminal >= 0) ::ioctl(terminal, TIOCSCTTY, 0);
  const pid_t child = ::fork();
  if (child < 0) ::_exit(1);
  if (child == 0) {
    ::setpgid(0, 0);
    if (terminal >= 0) ::tcsetpgrp(terminal, ::getpid());
    become_child();
    ::_exit(127);
  }
  // Others wait for the end of criu's descriptors.
  if (::dup2(changes, kChangesFd) < 0) ::_exit(1);
  ::close_range(kChangesFd + 1, ~0u, 0);
  say({child, 0});
  for (;;) {
    ChildChange change;
    change.pid = ::waitpid(-1, &change.status, WUNTRACED | WCONTINUED);
    if (change.pid > 0) {
      say(change);
    } else if (errno == ECHILD) {
      ::_exit(0);
    }
  }
}

}  // namespace

Result<Keeper> Keeper::start(int terminal, const std::function<void()>& become_child) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return Error::from_errno("make a socket");
  }
  Keeper keeper;
  keeper.changes.reset(pair[0]);
  UniqueFd there(pair[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork");
  if (pid == 0) keep(*there, terminal, become_child);
  there.reset();
  ChildChange first;
  if (::recv(*keeper.changes, &first, sizeof first, 0) != sizeof first) {
    return Error("the guest's keeper died");
  }
  keeper.child = first.pid;
  return keeper;
}

std::optional<ChildChange> Keeper::next(bool& open) const {
  ChildChange change;
  const ssize_t got = ::recv(*changes, &change, sizeof change, MSG_DONTWAIT);
  open = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  if (got != sizeof change) return std::nullopt;
  return change;
}

}  // namespace ssi::migrate
