#include "ssid/base/deputy_lock.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>

#include "ssid/base/deputy_lock_wire.h"
#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

using Clock = std::chrono::steady_clock;

// It may have begun this very moment, and not listen yet.
Result<UniqueFd> connect_to(pid_t pid, Clock::time_point deadline) {
  const std::string name = kDeputyLockName + std::to_string(pid);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  for (;;) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Error::from_errno("make a socket");
    if (::connect(*socket, reinterpret_cast<const sockaddr*>(&address), size) == 0) return socket;
    if (errno != ECONNREFUSED && errno != EAGAIN) return Error::from_errno("reach a deputy");
    if (Clock::now() >= deadline) return Error(ErrorCode::kTimeout, "a deputy does not listen");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Anybody may have taken that name.
bool belongs_to(int socket, pid_t pid) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == pid;
}

}  // namespace

Result<int> lock_by_deputy(pid_t pid, int number, int command, struct flock& lock,
                           std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  SSI_ASSIGN(const UniqueFd socket, connect_to(pid, deadline));
  if (!belongs_to(*socket, pid)) return Error("somebody else has the name of a deputy's socket");
  DeputyLock asked;
  asked.command = command;
  asked.number = number;
  asked.type = lock.l_type;
  asked.start = lock.l_start;
  asked.length = lock.l_len;
  if (::send(*socket, &asked, sizeof asked, MSG_NOSIGNAL) != sizeof asked) {
    return Error::from_errno("ask a deputy");
  }
  pollfd entry{*socket, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  const int ms = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  if (::poll(&entry, 1, ms) <= 0) return Error(ErrorCode::kTimeout, "a deputy does not answer");
  DeputyLock told;
  const ssize_t got = ::recv(*socket, &told, sizeof told, MSG_DONTWAIT);
  if (got != sizeof told || told.magic != kDeputyLockMagic) {
    return Error(ErrorCode::kGone, "the deputy has ended");
  }
  lock.l_type = static_cast<short>(told.type);
  lock.l_whence = SEEK_SET;
  lock.l_start = told.start;
  lock.l_len = told.length;
  lock.l_pid = told.pid;
  return told.error;
}

}  // namespace ssi
