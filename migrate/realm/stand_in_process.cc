#include "migrate/realm/stand_in_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "migrate/realm/become_criu.h"
#include "migrate/realm/realm_protocol.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr int kRequestTimeoutMs = 5000;  // it is there when it is looked for

class StandInProcess {
 public:
  StandInProcess(UniqueFd socket, UniqueFd signals, const std::string& criu_dir)
      : socket_(std::move(socket)), signals_(std::move(signals)), criu_dir_(criu_dir) {}

  void run() {
    for (;;) {
      pollfd polled[] = {{*socket_, POLLIN, 0}, {*signals_, POLLIN, 0}};
      if (::poll(polled, 2, -1) < 0 && errno != EINTR) return;
      if (polled[1].revents != 0) hear_children();
      if (polled[0].revents != 0 && !serve()) break;
    }
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
  }

 private:
  void say(const StandInMessage& message) {
    (void)::send(*socket_, &message, sizeof message, MSG_NOSIGNAL);
  }

  void hear_children() {
    signalfd_siginfo info;
    while (::read(*signals_, &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) != 0;) {
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) return say({StandInMessage::kChanged, 0, 0});
      say({StandInMessage::kChanged, pid, status});
    }
  }

  // False: init has no more use for us.
  bool serve() {
    StandInMessage request;
    const auto message = unix_recv(*socket_, sizeof request, kRealmMaxFds, kRequestTimeoutMs);
    if (!message || message->bytes.size() != sizeof request) return false;
    std::memcpy(&request, message->bytes.data(), sizeof request);
    say(request.kind == StandInMessage::kSpawn ? spawn(message->descriptors)
                                               : put_in_foreground(request));
    return true;
  }

  StandInMessage spawn(const std::vector<UniqueFd>& fds) {
    std::vector<int> raw;
    for (const UniqueFd& fd : fds) raw.push_back(*fd);
    const auto terminal = std::ranges::find_if(raw, [](int fd) { return ::isatty(fd) != 0; });
    const bool controls = terminal != raw.end() && ::ioctl(*terminal, TIOCSCTTY, 0) == 0;
    const pid_t pid = ::fork();
    if (pid < 0) return {StandInMessage::kAnswer, 0, errno};
    if (pid == 0) become_criu(criu_dir_, raw);
    if (controls) terminal_from_ = pid;
    return {StandInMessage::kAnswer, pid, 0};
  }

  StandInMessage put_in_foreground(const StandInMessage& request) {
    constexpr StandInMessage kDone{StandInMessage::kAnswer, 0, 0};
    if (request.value != terminal_from_) return kDone;
    // It is not kept open: others wait for its end. Gone already: then there is nothing to do.
    const UniqueFd terminal(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal || ::getsid(request.pid) != ::getpid()) return kDone;
    const bool done = ::tcsetpgrp(*terminal, ::getpgid(request.pid)) == 0;
    return {StandInMessage::kAnswer, 0, done ? 0 : errno};
  }

  UniqueFd socket_;
  UniqueFd signals_;
  const std::string& criu_dir_;
  pid_t terminal_from_ = 0;  // the criu whose guest has the controlling terminal
};

}  // namespace

void serve_as_stand_in(UniqueFd socket, const std::string& criu_dir) {
  // Nothing of init's may stay open here: others wait for the end of its connections.
  if (::dup2(*socket, 3) < 0) ::_exit(1);
  (void)socket.release();
  ::close_range(4, ~0u, 0);
  ::prctl(PR_SET_NAME, "ssid-stand-in");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::setsid();
  sigset_t all, child;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  UniqueFd signals(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) ::_exit(1);
  StandInProcess(UniqueFd(3), std::move(signals), criu_dir).run();
  ::_exit(0);
}

}  // namespace ssi::migrate
