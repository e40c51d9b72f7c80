#include "migrate/realm/realm_init.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "migrate/pages/pager.h"

namespace ssi::migrate {
namespace {

RealmMessage reply(pid_t pid, int error) {
  return {static_cast<std::uint32_t>(RealmOp::kReply), pid, 0, error};
}

RealmMessage event(RealmOp op, pid_t pid, int value) {
  return {static_cast<std::uint32_t>(op), pid, value, 0};
}

void send_message(int connection, const RealmMessage& message) {
  (void)::send(connection, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Only calls that are safe between fork and exec.
[[noreturn]] void become_criu(const std::string& criu_dir, CriuUser user,
                              const std::vector<int>& fds) {
  // fds[0] is the cgroup; the others become 3, 4, ...; first out of the way, as they may overlap.
  if (::write(fds[0], "0", 1) != 1) ::_exit(120);
  int high[kRealmMaxFds];
  for (std::size_t i = 1; i < fds.size(); ++i) {
    high[i] = ::fcntl(fds[i], F_DUPFD_CLOEXEC, 200);
    if (high[i] < 0) ::_exit(121);
  }
  for (std::size_t i = 1; i < fds.size(); ++i) {
    if (::dup2(high[i], static_cast<int>(i) + 2) < 0) ::_exit(122);
  }
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  ::close_range(static_cast<unsigned>(fds.size()) + 2, ~0u, 0);

  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!user.is_root() && (::setresgid(user.gid, 0, 0) != 0 || ::setresuid(user.uid, 0, 0) != 0)) {
    ::_exit(123);
  }
  const std::string loader = criu_dir + "/ld.so";
  const std::string criu = criu_dir + "/criu";
  char fd_text[] = {static_cast<char>('0' + kCriuRpcFd), '\0'};
  const char* argv[] = {loader.c_str(),        "--library-path", criu_dir.c_str(), criu.c_str(),
                        "--no-default-config", "swrk",           fd_text,          nullptr};
  const char* envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  ::execve(loader.c_str(), const_cast<char**>(argv), const_cast<char**>(envp));
  ::_exit(127);
}

}  // namespace

RealmInit::RealmInit(UniqueFd listener, std::string criu_dir)
    : listener_(std::move(listener)), criu_dir_(std::move(criu_dir)) {}

Result<> RealmInit::run() {
  sigset_t mask;
  sigfillset(&mask);
  if (::sigprocmask(SIG_SETMASK, &mask, nullptr) != 0) return Error::from_errno("sigprocmask");
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  signals_ = UniqueFd(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return Error::from_errno("signalfd");

  while (!quit_) {
    std::vector<pollfd> polled{{*listener_, POLLIN, 0}, {*signals_, POLLIN, 0}};
    for (const UniqueFd& c : connections_) polled.push_back({*c, POLLIN, 0});
    const std::size_t connections_end = polled.size();
    for (const Keeper& k : keepers_) polled.push_back({*k.changes, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) {
      return Error::from_errno("poll");
    }
    if (polled[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(*signals_, &info, sizeof info) > 0) {
      }
      reap();
    }
    hear_keepers();
    for (std::size_t i = 2; i < connections_end; ++i) {
      if (polled[i].revents == 0 || serve(polled[i].fd)) continue;
      if (subscriber_ == polled[i].fd) subscriber_ = -1;
      std::erase_if(criu_spawned_by_, [&](const auto& e) { return e.second == polled[i].fd; });
      std::erase_if(connections_, [&](const UniqueFd& c) { return *c == polled[i].fd; });
    }
    if (polled[0].revents != 0) accept_one();
  }
  return {};
}

void RealmInit::accept_one() {
  UniqueFd connection(::accept4(*listener_, nullptr, nullptr, SOCK_CLOEXEC));
  if (connection) connections_.push_back(std::move(connection));
}

bool RealmInit::serve(int connection) {
  Request request;
  iovec iov{&request.message, sizeof request.message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kRealmMaxFds)];
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(connection, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      request.fds.emplace_back(fd);
    }
  }
  if (n != sizeof request.message || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return false;
  if (request.message.op == static_cast<std::uint32_t>(RealmOp::kSubscribe)) {
    subscribe(connection);
    return true;
  }
  send_message(connection, handle(connection, request));
  return true;
}

RealmMessage RealmInit::handle(int connection, Request& request) {
  const RealmMessage& m = request.message;
  switch (static_cast<RealmOp>(m.op)) {
    case RealmOp::kSpawnCriu:
      return spawn_criu(connection, {static_cast<uid_t>(m.pid), static_cast<gid_t>(m.value)},
                        request.fds);
    case RealmOp::kPutInCgroup: {
      if (request.fds.size() != 1) return reply(m.pid, EINVAL);
      const std::string text = std::to_string(m.pid);
      const bool ok = ::write(*request.fds[0], text.data(), text.size()) >= 0;
      return reply(m.pid, ok ? 0 : errno);
    }
    case RealmOp::kRegister:
      guests_.insert(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kForget:
      guests_.erase(m.pid);
      ended_.erase(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kSignal:
      if (!guests_.contains(m.pid)) return reply(m.pid, ESRCH);
      return reply(m.pid, ::kill(m.pid, m.value) == 0 ? 0 : errno);
    case RealmOp::kAckExit:
      ended_.erase(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kInstall:
      return spawn_pager(m.pid, request.fds);
    case RealmOp::kInstallAll:
      install_all(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kPagersLeft: {
      RealmMessage left = reply(m.pid, 0);
      left.value = static_cast<int>(std::count_if(
          pagers_.begin(), pagers_.end(), [&](const auto& p) { return p.second.guest == m.pid; }));
      return left;
    }
    case RealmOp::kQuit:
      if (!guests_.empty() || !ended_.empty()) return reply(0, EBUSY);
      quit_ = true;
      return reply(0, 0);
    default:
      return reply(m.pid, EINVAL);
  }
}

RealmMessage RealmInit::spawn_criu(int connection, CriuUser user, std::vector<UniqueFd>& fds) {
  if (fds.size() < 3 || fds.size() > static_cast<std::size_t>(kRealmMaxFds))
    return reply(0, EINVAL);
  std::vector<int> raw;
  for (const UniqueFd& fd : fds) raw.push_back(*fd);
  // The guest's terminal is among what criu will give it.
  const auto terminal = std::ranges::find_if(raw, [](int fd) { return ::isatty(fd) != 0; });
  auto keeper = Keeper::start(terminal == raw.end() ? -1 : *terminal,
                              [&] { become_criu(criu_dir_, user, raw); });
  if (!keeper) return reply(0, EAGAIN);
  const pid_t pid = keeper->child;
  keepers_.push_back(std::move(*keeper));
  criu_spawned_by_[pid] = connection;
  return reply(pid, 0);
}

RealmMessage RealmInit::spawn_pager(pid_t guest, std::vector<UniqueFd>& fds) {
  if (fds.size() != 4) return reply(0, EINVAL);
  int go[2];
  if (::pipe2(go, O_CLOEXEC) != 0) return reply(0, errno);
  UniqueFd go_read(go[0]), go_write(go[1]);
  UniqueFd held(::fcntl(*fds[0], F_DUPFD_CLOEXEC, 0));
  if (!held) return reply(0, errno);
  const pid_t pid = ::fork();
  if (pid < 0) return reply(0, errno);
  if (pid == 0) {
    // Nothing of init's may stay open here: others wait for the end of its connections.
    connections_.clear();
    listener_.reset();
    signals_.reset();
    pagers_.clear();
    held.reset();
    go_write.reset();
    ::prctl(PR_SET_NAME, "ssid-pager");
    auto pager =
        Pager::open({std::move(fds[0]), std::move(fds[1]), std::move(fds[2]), std::move(go_read)});
    ::_exit(pager && pager->run() ? 0 : 1);
  }
  pagers_[pid] = {guest, std::move(held), std::move(fds[3]), std::move(go_write)};
  return reply(pid, 0);
}

void RealmInit::install_all(pid_t guest) {
  for (auto& [pid, pager] : pagers_) {
    if (pager.guest == guest) pager.go.reset();
  }
}

void RealmInit::pager_ended(pid_t pid, int status) {
  const auto pager = pagers_.find(pid);
  // Its process can't go on without its memory.
  if (status != 0) (void)!::write(*pager->second.kill, "1", 1);
  pagers_.erase(pager);
}

void RealmInit::subscribe(int connection) {
  subscriber_ = connection;
  for (const pid_t pid : guests_) tell_subscriber(event(RealmOp::kGuest, pid, 0));
  for (const auto& [pid, status] : ended_) tell_subscriber(event(RealmOp::kExited, pid, status));
}

void RealmInit::hear_keepers() {
  std::erase_if(keepers_, [&](const Keeper& keeper) {
    bool open = true;
    while (const auto change = keeper.next(open)) child_changed(change->pid, change->status);
    return !open;
  });
}

void RealmInit::reap() {
  int status;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) {
    child_changed(pid, status);
  }
}

void RealmInit::child_changed(pid_t pid, int status) {
  if (auto criu = criu_spawned_by_.find(pid); criu != criu_spawned_by_.end()) {
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) return;
    send_message(criu->second, event(RealmOp::kChildEnded, pid, status));
    criu_spawned_by_.erase(criu);
    return;
  }
  if (pagers_.contains(pid)) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) pager_ended(pid, status);
    return;
  }
  if (!guests_.contains(pid)) return;  // an orphan of a guest, or criu's helper
  if (WIFSTOPPED(status)) return tell_subscriber(event(RealmOp::kStopped, pid, WSTOPSIG(status)));
  if (WIFCONTINUED(status)) return tell_subscriber(event(RealmOp::kContinued, pid, 0));
  guests_.erase(pid);
  ended_[pid] = status;
  tell_subscriber(event(RealmOp::kExited, pid, status));
}

void RealmInit::tell_subscriber(const RealmMessage& message) {
  if (subscriber_ >= 0) send_message(subscriber_, message);
}

}  // namespace ssi::migrate
