#include "migrate/net/silence.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "ssid/base/unique_fd.h"

namespace ssi::net {
namespace {

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

Result<> silence(int fd) {
  if (option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP) return {};
  if (option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1) {
    if (::shutdown(fd, SHUT_RDWR) != 0 && errno != ENOTCONN)
      return Error::from_errno("stop listening");
    return {};
  }
  const int on = 1;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0) {
    return Error::from_errno("silence a connection");
  }
  return {};
}

bool is_socket(const std::string& link) {
  char target[64] = {};
  const ssize_t n = ::readlink(link.c_str(), target, sizeof target - 1);
  return n > 0 && std::string_view(target, static_cast<std::size_t>(n)).starts_with("socket:");
}

}  // namespace

Result<> silence_sockets(pid_t pid) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return Error::from_errno("process " + std::to_string(pid));
  const std::string dir = "/proc/" + std::to_string(pid) + "/fd";
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(dir.c_str()), ::closedir);
  if (!open) return Error::from_errno(dir);
  while (const dirent* entry = ::readdir(open.get())) {
    if (!is_socket(dir + "/" + entry->d_name)) continue;
    const UniqueFd fd(
        static_cast<int>(::syscall(SYS_pidfd_getfd, *process, std::atoi(entry->d_name), 0)));
    if (!fd) return Error::from_errno("take a socket");
    SSI_TRY(silence(*fd));
  }
  return {};
}

}  // namespace ssi::net
