#include "migrate/streams/socket_device.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "migrate/fds/unix_diag.h"

namespace ssi::migrate {
namespace {

class GuestSocket final : public SocketDevice {
 public:
  GuestSocket(ucred sender, GuestQueue queue) : SocketDevice(sender), queue_(std::move(queue)) {}

  ssize_t write(int fd, const char* from, std::size_t size) override {
    const ssize_t put = SocketDevice::write(fd, from, size);
    if (put > 0) written_ += static_cast<std::uint64_t>(put);
    return put;
  }
  std::uint64_t unread(int) override { return queue_.waiting().value_or(written_); }
  std::uint64_t take_back(int fd) override { return unread(fd); }
  bool keeps_what_is_taken_back() const override { return true; }

 private:
  GuestQueue queue_;
  std::uint64_t written_ = 0;  // in all
};

int type_of(int socket) {
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  return ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? type : SOCK_STREAM;
}

}  // namespace

ssize_t SocketDevice::receive(int fd, char* to, std::size_t size) {
  iovec bytes{to, size};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT);
  if (got < 0 || (message.msg_flags & MSG_CTRUNC) == 0) return got;
  // Nobody can have it. Better an end than a message without it.
  ::shutdown(fd, SHUT_RDWR);
  return 0;
}

ssize_t SocketDevice::read(int fd, char* to, std::size_t size) { return receive(fd, to, size); }

ssize_t SocketDevice::write(int fd, const char* from, std::size_t size) {
  iovec bytes{const_cast<char*>(from), size};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
  if (sender_) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_CREDENTIALS;
    head->cmsg_len = CMSG_LEN(sizeof *sender_);
    std::memcpy(CMSG_DATA(head), &*sender_, sizeof *sender_);
  }
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Both directions are shut: ours would have been by us.
bool SocketDevice::unreadable(short events) const { return (events & (POLLERR | POLLHUP)) != 0; }

bool SocketDevice::writers_gone(int fd) const {
  pollfd entry{fd, POLLIN | POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLRDHUP)) != 0;
}

std::optional<std::uint64_t> GuestQueue::waiting() {
  if (guests_ == 0) {
    const auto ours = fds::ask_unix_socket(*diag_, ours_);
    guests_ = ours ? ours->peer : 0;
  }
  if (guests_ == 0) return {};
  const auto socket = fds::ask_unix_socket(*diag_, guests_);
  return socket ? socket->unread_bytes : 0;
}

std::unique_ptr<StreamDevice> home_socket(int fd, std::optional<ucred> sender) {
  const int type = type_of(fd);
  if (type == SOCK_DGRAM) return home_datagrams(sender);
  if (type == SOCK_SEQPACKET) return home_messages(sender);
  return std::make_unique<SocketDevice>(sender);
}

std::unique_ptr<StreamDevice> guest_socket(int ours, UniqueFd diag, fds::PeerIdentity peer) {
  struct stat st {};
  if (::fstat(ours, &st) != 0) st.st_ino = 0;
  GuestQueue queue(st.st_ino, std::move(diag));
  const ucred sender{::getpid(), peer.uid, peer.gid};
  if (type_of(ours) != SOCK_STREAM) return guest_messages(sender, std::move(queue));
  return std::make_unique<GuestSocket>(sender, std::move(queue));
}

}  // namespace ssi::migrate
