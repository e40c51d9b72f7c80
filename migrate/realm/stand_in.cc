#include "migrate/realm/stand_in.h"

#include <linux/sched.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr int kAnswerTimeoutMs = 5000;

// fork(2) with a wish for the PID, or 0.
pid_t fork_as(pid_t wanted) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  if (wanted > 1) {
    args.set_tid = reinterpret_cast<std::uintptr_t>(&wanted);
    args.set_tid_size = 1;
  }
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

}  // namespace

Result<StandIn> StandIn::start(pid_t home_pid, const std::string& criu_dir) {
  SSI_ASSIGN(UnixPair pair, unix_pair(UnixType::kSeqPacket));
  pid_t pid = fork_as(home_pid);
  if (pid < 0 && errno == EEXIST) pid = fork_as(0);
  if (pid < 0) return Error::from_errno("fork a stand-in");
  if (pid == 0) serve_as_stand_in(std::move(pair.second), criu_dir);
  return StandIn(home_pid, std::move(pair.first));
}

Result<pid_t> StandIn::spawn(std::span<const int> fds) {
  SSI_ASSIGN(const auto answer, ask({StandInMessage::kSpawn, 0, 0}, fds));
  // That it had none before is old news.
  std::erase_if(changes_, [](const ChildChange& change) { return change.pid == 0; });
  has_children_ = true;
  return answer.pid;
}

Result<> StandIn::put_in_foreground(pid_t criu, pid_t guest) {
  SSI_TRY(ask({StandInMessage::kForeground, guest, criu}, {}));
  return {};
}

Result<StandInMessage> StandIn::ask(const StandInMessage& request, std::span<const int> fds) {
  SSI_TRY(unix_send(*socket_, std::as_bytes(std::span(&request, 1)), fds, kAnswerTimeoutMs));
  for (;;) {
    pollfd ready{*socket_, POLLIN, 0};
    if (::poll(&ready, 1, kAnswerTimeoutMs) <= 0) return Error("a stand-in does not answer");
    StandInMessage message;
    if (::recv(*socket_, &message, sizeof message, 0) != sizeof message) {
      return Error("a stand-in has died");
    }
    if (message.kind == StandInMessage::kChanged) {
      changes_.push_back({message.pid, message.value});
    } else if (message.value != 0) {
      return Error::from_errno("a stand-in", message.value);
    } else {
      return message;
    }
  }
}

std::optional<ChildChange> StandIn::next(bool& open) {
  open = true;
  if (changes_.empty()) {
    StandInMessage message;
    const ssize_t got = ::recv(*socket_, &message, sizeof message, MSG_DONTWAIT);
    open = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got != sizeof message || message.kind != StandInMessage::kChanged) return std::nullopt;
    changes_.push_back({message.pid, message.value});
  }
  const ChildChange change = changes_.front();
  changes_.pop_front();
  if (change.pid == 0) has_children_ = false;
  return change;
}

}  // namespace ssi::migrate
