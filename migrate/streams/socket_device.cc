// Unix stream sockets. Both directions use the same socket, each through a duplicate of its own, so
// that it is shut down rather than closed. Flags of an open file are shared with whoever holds it:
// O_NONBLOCK is never set.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "migrate/fds/unix_diag.h"
#include "migrate/streams/stream_device.h"

namespace ssi::migrate {
namespace {

class SocketDevice : public StreamDevice {
 public:
  ssize_t read(int fd, char* to, std::size_t size) override {
    iovec bytes{to, size};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0 || (message.msg_flags & MSG_CTRUNC) == 0) return got;
    // A descriptor came along, and nobody can have it. Better an end than a message without it.
    ::shutdown(fd, SHUT_RDWR);
    return 0;
  }
  ssize_t write(int fd, const char* from, std::size_t size) override {
    return ::send(fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  void end_writing(int fd) override { ::shutdown(fd, SHUT_WR); }
  void end_reading(int fd) override { ::shutdown(fd, SHUT_RD); }
  // Both directions are shut: ours would have been by us.
  bool unreadable(short events) const override { return (events & (POLLERR | POLLHUP)) != 0; }
  bool writers_gone(int fd) const override {
    pollfd entry{fd, POLLIN | POLLRDHUP, 0};
    return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLRDHUP)) != 0;
  }
  std::uint64_t unread(int) override { return 0; }
  std::uint64_t take_back(int) override { return 0; }
};

class GuestSocket final : public SocketDevice {
 public:
  GuestSocket(fds::SocketInode ours, UniqueFd diag, fds::PeerIdentity peer)
      : ours_(ours), diag_(std::move(diag)), peer_{::getpid(), peer.uid, peer.gid} {}

  // In the peer's name, for a guest that asks with each message who has sent it; else the kernel
  // would say that ssid has, which is root.
  ssize_t write(int fd, const char* from, std::size_t size) override {
    iovec bytes{const_cast<char*>(from), size};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_CREDENTIALS;
    head->cmsg_len = CMSG_LEN(sizeof peer_);
    std::memcpy(CMSG_DATA(head), &peer_, sizeof peer_);
    const ssize_t put = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put > 0) written_ += static_cast<std::uint64_t>(put);
    return put;
  }
  std::uint64_t unread(int) override {
    if (guests_ == 0) {
      const auto ours = fds::ask_unix_socket(*diag_, ours_);
      guests_ = ours ? ours->peer : 0;
    }
    // It has not accepted the connection yet, or nobody has it any more.
    if (guests_ == 0) return written_;
    const auto socket = fds::ask_unix_socket(*diag_, guests_);
    return socket ? socket->unread_bytes : 0;
  }
  std::uint64_t take_back(int fd) override { return unread(fd); }
  bool keeps_what_is_taken_back() const override { return true; }

 private:
  const fds::SocketInode ours_;
  const UniqueFd diag_;
  const ucred peer_;
  fds::SocketInode guests_ = 0;  // 0: not known yet
  std::uint64_t written_ = 0;    // in all
};

}  // namespace

std::unique_ptr<StreamDevice> home_socket() { return std::make_unique<SocketDevice>(); }

std::unique_ptr<StreamDevice> guest_socket(int ours, UniqueFd diag, fds::PeerIdentity peer) {
  struct stat st {};
  if (::fstat(ours, &st) != 0) st.st_ino = 0;
  return std::make_unique<GuestSocket>(st.st_ino, std::move(diag), peer);
}

}  // namespace ssi::migrate
