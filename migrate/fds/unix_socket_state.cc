#include "migrate/fds/unix_socket_state.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>

namespace ssi::fds {
namespace {

constexpr unsigned long kOpenSocketFile = SIOCPROTOPRIVATE;  // SIOCUNIXFILE
constexpr int kPassPidfd = 76;                               // SO_PASSPIDFD
constexpr std::size_t kDescriptorsMax = 253;                 // SCM_MAX_FD, in one message
constexpr int kMessagesMax = 4096;
constexpr std::size_t kDatagramMax = 1 << 20;

int option(int socket, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

// While it lives, peeks go on from where the last one ended.
class PeekOffset {
 public:
  explicit PeekOffset(int socket) : socket_(socket), before_(option(socket, SO_PEEK_OFF)) {
    const int start = 0;
    set_ = ::setsockopt(socket_, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof start) == 0;
  }
  ~PeekOffset() {
    if (set_) (void)::setsockopt(socket_, SOL_SOCKET, SO_PEEK_OFF, &before_, sizeof before_);
  }
  PeekOffset(const PeekOffset&) = delete;
  PeekOffset& operator=(const PeekOffset&) = delete;
  bool works() const { return set_; }

 private:
  const int socket_;
  const int before_;
  bool set_ = false;
};

void take(msghdr& message, std::vector<UniqueFd>& found) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      found.emplace_back(fd);
    }
  }
}

// Does any of the datagrams that wait say by which name it was sent?
bool has_named_sender(int socket) {
  if (option(socket, SO_TYPE) != SOCK_DGRAM) return false;
  char first = 0;
  if (::recv(socket, &first, sizeof first, MSG_PEEK | MSG_DONTWAIT) < 0)
    return false;  // none waits
  const PeekOffset offset(socket);
  std::vector<char> data(kDatagramMax);  // what does not fit would be seen as one more
  for (int i = 0; offset.works() && i < kMessagesMax; ++i) {
    sockaddr_un name{};
    socklen_t size = sizeof name;
    if (::recvfrom(socket, data.data(), data.size(), MSG_PEEK | MSG_DONTWAIT,
                   reinterpret_cast<sockaddr*>(&name), &size) < 0) {
      return false;
    }
    if (size > sizeof name.sun_family) return true;
  }
  return false;
}

}  // namespace

UnixSocketState read_state(int socket) {
  UnixSocketState state;
  state.named_sender = has_named_sender(socket);
  for (const int name : {SO_PASSCRED, SO_PASSSEC, kPassPidfd, SO_TIMESTAMP, SO_TIMESTAMPNS,
                         SO_TIMESTAMPING, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW}) {
    state.labels_messages |= option(socket, name) != 0;
  }
  const UniqueFd file(::ioctl(socket, kOpenSocketFile));
  struct stat st {};
  if (!file || ::fstat(*file, &st) != 0) return state;
  char path[PATH_MAX] = {};
  const ssize_t n =
      ::readlink(("/proc/self/fd/" + std::to_string(*file)).c_str(), path, sizeof path - 1);
  const std::string_view target(path, n > 0 ? static_cast<std::size_t>(n) : 0);
  constexpr std::string_view kDeleted = " (deleted)";
  state.name_deleted = st.st_nlink == 0 || target.ends_with(kDeleted);
  if (!state.name_deleted) {
    state.path = target;
  } else if (target.ends_with(kDeleted)) {
    state.former_path = target.substr(0, target.size() - kDeleted.size());
  } else {
    state.former_path = target;  // deleted at home, where the process was not
  }
  return state;
}

std::uint32_t count_datagrams(int socket) {
  const PeekOffset offset(socket);
  std::vector<char> data(kDatagramMax);  // what does not fit would be seen as one more
  std::uint32_t count = 0;
  while (offset.works() && ::recv(socket, data.data(), data.size(), MSG_PEEK | MSG_DONTWAIT) >= 0) {
    ++count;
  }
  return count;
}

Result<std::vector<UniqueFd>> peek_descriptors(int socket, unsigned expected) {
  const PeekOffset offset(socket);
  if (!offset.works()) return Error::from_errno("look into a socket's queue");
  std::vector<UniqueFd> found;
  std::vector<char> data(64 << 10);
  std::array<char, CMSG_SPACE(kDescriptorsMax * sizeof(int)) + CMSG_SPACE(256)> control;
  for (int i = 0; i < kMessagesMax && found.size() < expected; ++i) {
    iovec bytes{data.data(), data.size()};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) break;
    take(message, found);
    if (n == 0 && message.msg_controllen == 0) break;
  }
  if (found.size() < expected) {
    return Error("of " + std::to_string(expected) + " descriptors in its queue only " +
                 std::to_string(found.size()) + " can be seen");
  }
  return found;
}

}  // namespace ssi::fds
