#include "migrate/pages/lazy_socket.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace ssi::migrate {

Result<LazySocket> LazySocket::listen(const std::string& dir) {
  const std::string path = dir + "/lazy-pages.socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error("socket path is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::bind(*fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(*fd, 1) != 0) {
    return Error::from_errno("listen at " + path);
  }
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake) return Error::from_errno("eventfd");
  return LazySocket(std::move(fd), std::move(wake));
}

void LazySocket::abort() const {
  const std::uint64_t one = 1;
  (void)!::write(*wake_, &one, sizeof one);
}

Result<> LazySocket::wait_for(int fd) const {
  pollfd polled[] = {{fd, POLLIN, 0}, {*wake_, POLLIN, 0}};
  while (::poll(polled, 2, -1) < 0) {
    if (errno != EINTR) return Error::from_errno("poll");
  }
  if (polled[1].revents != 0) return Error("criu did not ask for memory");
  return {};
}

Result<UniqueFd> LazySocket::take_uffd() {
  SSI_TRY(wait_for(*listener_));
  connection_ = UniqueFd(::accept4(*listener_, nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection_) return Error::from_errno("accept criu");
  std::int32_t pid = 0;
  do {
    SSI_TRY(wait_for(*connection_));
    if (::recv(*connection_, &pid, sizeof pid, MSG_WAITALL) != sizeof pid || pid == 0) {
      return Error("criu did not say whose memory it wants");
    }
  } while (pid < 0);
  SSI_TRY(wait_for(*connection_));
  char byte = 0;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  if (::recvmsg(*connection_, &header, MSG_CMSG_CLOEXEC) < 0) {
    return Error::from_errno("receive from criu");
  }
  const cmsghdr* c = CMSG_FIRSTHDR(&header);
  if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
      c->cmsg_len != CMSG_LEN(sizeof(int))) {
    return Error("criu sent no descriptor of memory");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace ssi::migrate
