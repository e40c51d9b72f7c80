#include "migrate/realm/realm_init.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "migrate/pages/pager.h"
#include "migrate/realm/become_criu.h"
#include "ssid/base/proc_job.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr int kRequestTimeoutMs = 5000;  // it is there when it is looked for

RealmMessage reply(pid_t pid, int error) {
  return {static_cast<std::uint32_t>(RealmOp::kReply), pid, 0, error};
}

RealmMessage event(RealmOp op, pid_t pid, int value) {
  return {static_cast<std::uint32_t>(op), pid, value, 0};
}

std::vector<int> numbers_of(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(*fd);
  return numbers;
}

// cgroup.procs, the RPC socket, the images.
bool enough_for_criu(const std::vector<UniqueFd>& fds) {
  return fds.size() >= 3 && fds.size() <= static_cast<std::size_t>(kRealmMaxFds);
}

void send_message(int connection, const RealmMessage& message) {
  (void)::send(connection, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

Result<pid_t> fork_criu(const std::string& criu_dir, const std::vector<UniqueFd>& fds,
                        int own_namespaces = 0) {
  const std::vector<int> numbers = numbers_of(fds);
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork");
  if (pid == 0) {
    if (own_namespaces != 0 && ::unshare(own_namespaces) != 0) ::_exit(123);
    ::setsid();  // a guest without a parent at home gets criu's session, not the realm's
    become_criu(criu_dir, numbers);
  }
  return pid;
}

RealmMessage send_opened(const char* path, const std::vector<UniqueFd>& fds) {
  if (fds.size() != 1) return reply(0, EINVAL);
  const UniqueFd opened(::open(path, O_RDONLY | O_CLOEXEC));
  if (!opened) return reply(0, errno);
  const std::byte byte{};
  const int numbers[] = {*opened};
  return reply(0, unix_send(*fds[0], {&byte, 1}, numbers, kRequestTimeoutMs) ? 0 : EIO);
}

// errno, or 0.
int signal_job(pid_t guest, int signo) {
  const auto job = proc_job(guest);
  if (!job) return ESRCH;
  const pid_t group = job->foreground > 0 ? job->foreground : job->group;
  // A group of 1 would be everybody; it is nobody's here.
  if (group <= 1) return ESRCH;
  return ::kill(-group, signo) == 0 ? 0 : errno;
}

int signal_group(pid_t guest, int signo) {
  const auto job = proc_job(guest);
  if (!job) return ESRCH;
  return ::kill(job->group == guest ? -guest : guest, signo) == 0 ? 0 : errno;
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
    for (const StandIn& s : stand_ins_) polled.push_back({s.fd(), POLLIN, 0});
    for (const auto& [pid, pidfd] : members_) polled.push_back({*pidfd, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) {
      return Error::from_errno("poll");
    }
    if (polled[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(*signals_, &info, sizeof info) > 0) {
      }
      reap();
    }
    hear_stand_ins();
    hear_members();
    for (std::size_t i = 2; i < connections_end; ++i) {
      if (polled[i].revents == 0 || serve(polled[i].fd)) continue;
      if (subscriber_ == polled[i].fd) subscriber_ = -1;
      for (auto& [pid, criu] : crius_) {
        if (criu.connection == polled[i].fd) criu.connection = -1;
      }
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
  auto received = unix_recv(connection, sizeof(RealmMessage), kRealmMaxFds, kRequestTimeoutMs);
  if (!received || received->bytes.size() != sizeof(RealmMessage)) return false;
  Request request{{}, std::move(received->descriptors)};
  std::memcpy(&request.message, received->bytes.data(), sizeof request.message);
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
    case RealmOp::kSpawnDump:
      return spawn_dump(connection, m.value != 0, request.fds);
    case RealmOp::kSpawnRestore:
      return spawn_restore(connection, m.value, m.pid, request.fds);
    case RealmOp::kCleanUp:
      clean_up(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kPutInCgroup: {
      if (request.fds.size() != 1) return reply(m.pid, EINVAL);
      const std::string text = std::to_string(m.pid);
      const bool ok = ::write(*request.fds[0], text.data(), text.size()) >= 0;
      return reply(m.pid, ok ? 0 : errno);
    }
    case RealmOp::kRegister:
      return register_guest(m.pid, m.value);
    case RealmOp::kRegisterMember:
      return register_member(m.pid);
    case RealmOp::kForget:
      guests_.erase(m.pid);
      members_.erase(m.pid);
      ended_.erase(m.pid);
      return reply(m.pid, 0);
    case RealmOp::kSignal:
      if (!guests_.contains(m.pid)) return reply(m.pid, ESRCH);
      return reply(m.pid, ::kill(m.pid, m.value) == 0 ? 0 : errno);
    case RealmOp::kSignalJob:
      if (!guests_.contains(m.pid)) return reply(m.pid, ESRCH);
      return reply(m.pid, signal_job(m.pid, m.value));
    case RealmOp::kSignalGroup:
      if (!guests_.contains(m.pid)) return reply(m.pid, ESRCH);
      return reply(m.pid, signal_group(m.pid, m.value));
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
    case RealmOp::kNetwork:
      return send_opened("/proc/self/ns/net", request.fds);
    case RealmOp::kSharedMemory:
      return send_opened("/dev/shm", request.fds);
    case RealmOp::kQuit:
      if (!guests_.empty() || !ended_.empty()) return reply(0, EBUSY);
      quit_ = true;
      return reply(0, 0);
    default:
      return reply(m.pid, EINVAL);
  }
}

RealmMessage RealmInit::spawn_dump(int connection, bool own_ipc, const std::vector<UniqueFd>& fds) {
  if (!enough_for_criu(fds)) return reply(0, EINVAL);
  const auto pid = fork_criu(criu_dir_, fds, own_ipc ? CLONE_NEWIPC : 0);
  if (!pid) return reply(0, EAGAIN);
  crius_[*pid].connection = connection;
  return reply(*pid, 0);
}

RealmMessage RealmInit::spawn_restore(int connection, pid_t guest, pid_t parent,
                                      std::vector<UniqueFd>& fds) {
  if (fds.empty()) return reply(0, EINVAL);
  Criu criu{connection, guest, parent, std::move(fds.back())};
  fds.pop_back();
  if (!enough_for_criu(fds)) return reply(0, EINVAL);
  const auto pid = start_restore(parent, fds);
  if (!pid) return reply(0, EAGAIN);
  crius_[*pid] = std::move(criu);
  return reply(*pid, 0);
}

Result<pid_t> RealmInit::start_restore(pid_t parent, const std::vector<UniqueFd>& fds) {
  // Init is what such a process has at home for a parent, too.
  if (parent <= 1) return fork_criu(criu_dir_, fds);
  auto stand_in = std::ranges::find(stand_ins_, parent, &StandIn::stands_for);
  if (stand_in == stand_ins_.end()) {
    SSI_ASSIGN(auto started, StandIn::start(parent, criu_dir_));
    stand_in = stand_ins_.insert(stand_in, std::move(started));
  }
  return stand_in->spawn(numbers_of(fds));
}

void RealmInit::clean_up(pid_t guest) {
  install_all(guest);  // its pager sees that it is gone
  for (auto& [pid, criu] : crius_) {
    if (criu.guest == guest) criu.rpc_peer.reset();
  }
}

RealmMessage RealmInit::register_guest(pid_t guest, pid_t criu) {
  const auto by = crius_.find(criu);
  const pid_t parent = by == crius_.end() ? 0 : by->second.parent;
  const auto stand_in = std::ranges::find(stand_ins_, parent, &StandIn::stands_for);
  if (stand_in != stand_ins_.end() && !stand_in->put_in_foreground(criu, guest)) {
    return reply(guest, EIO);
  }
  guests_.insert(guest);
  return reply(guest, 0);
}

RealmMessage RealmInit::register_member(pid_t member) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, member, 0)));
  if (!pidfd) return reply(member, errno);
  members_[member] = std::move(pidfd);
  guests_.insert(member);
  return reply(member, 0);
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

void RealmInit::hear_stand_ins() {
  std::erase_if(stand_ins_, [&](StandIn& stand_in) {
    bool open = true;
    while (const auto change = stand_in.next(open)) {
      if (change->pid != 0) child_changed(change->pid, change->status);
    }
    return !open || !stand_in.has_children();
  });
}

// How it ended is for its parent, which waits for it here. Of an orphan that a stand-in has got,
// the stand-in has said so already.
void RealmInit::hear_members() {
  std::vector<pid_t> over;
  for (const auto& [pid, pidfd] : members_) {
    pollfd ended{*pidfd, POLLIN, 0};
    if (::poll(&ended, 1, 0) > 0) over.push_back(pid);
  }
  for (const pid_t pid : over) {
    members_.erase(pid);
    child_changed(pid, 0);
  }
}

void RealmInit::reap() {
  int status;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) {
    child_changed(pid, status);
  }
}

void RealmInit::child_changed(pid_t pid, int status) {
  if (const auto criu = crius_.find(pid); criu != crius_.end()) {
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) return;
    if (criu->second.connection >= 0) {
      send_message(criu->second.connection, event(RealmOp::kChildEnded, pid, status));
    }
    crius_.erase(criu);
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
  members_.erase(pid);
  ended_[pid] = status;
  tell_subscriber(event(RealmOp::kExited, pid, status));
}

void RealmInit::tell_subscriber(const RealmMessage& message) {
  if (subscriber_ >= 0) send_message(subscriber_, message);
}

}  // namespace ssi::migrate
