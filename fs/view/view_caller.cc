#include "fs/view/view_caller.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace ssi::fs {
namespace {

constexpr int kFuseHandle = 0x81;  // FILEID_INO64_GEN
constexpr int kOrders = 3;         // the only descriptor of the process when it begins

// Nothing here allocates: it runs in a copy of a process that had other threads.
class Caller {
 public:
  explicit Caller(const char* mountpoint) : mountpoint_(mountpoint) {}

  int carry_out(const ViewCaller::Order& order) {
    using Call = ViewCaller::Call;
    if (order.call == Call::kBegin) return begin(order.name);
    if (order.call == Call::kEnd) return end();
    const int node = open_node(order.node);
    if (node < 0) return errno;
    int result = -1;
    switch (order.call) {
      case Call::kMake:
        result = order.directory != 0 ? ::mkdirat(node, order.name, 0700)
                                      : ::mknodat(node, order.name, S_IFREG | 0600, 0);
        break;
      case Call::kRemove:
        result = ::unlinkat(node, order.name, order.directory != 0 ? AT_REMOVEDIR : 0);
        break;
      case Call::kRename: {
        const int node2 = open_node(order.node2);
        if (node2 >= 0) result = ::renameat(node, order.name, node2, order.name2);
        close_node(node2);
        break;
      }
      case Call::kTouch:
        result = touch(node, order);
        break;
      case Call::kOpen:
        result = open_and_close(node, order);
        break;
      default:
        errno = EINVAL;
    }
    const int error = result == 0 ? 0 : errno;
    close_node(node);
    return error;
  }

 private:
  int begin(const char* name) {
    end();
    mount_ = ::open(mountpoint_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mount_ >= 0) ghosts_ = ::openat(mount_, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return ghosts_ >= 0 ? 0 : errno;
  }
  // Whoever unmounts is not to find it in use.
  int end() {
    if (ghosts_ >= 0) ::close(ghosts_);
    if (mount_ >= 0) ::close(mount_);
    ghosts_ = mount_ = -1;
    return 0;
  }
  // By its number: its names need not be looked up for that.
  int open_node(std::uint64_t node) const {
    if (node == 0) return ghosts_;
    alignas(file_handle) char bytes[sizeof(file_handle) + 12] = {};
    auto* const handle = reinterpret_cast<file_handle*>(bytes);
    handle->handle_bytes = 12;
    handle->handle_type = kFuseHandle;
    const std::uint32_t words[3] = {static_cast<std::uint32_t>(node >> 32),
                                    static_cast<std::uint32_t>(node), 0};
    std::memcpy(handle->f_handle, words, sizeof words);
    return ::open_by_handle_at(mount_, handle, O_PATH | O_CLOEXEC);
  }
  void close_node(int fd) const {
    const int error = errno;
    if (fd >= 0 && fd != ghosts_) ::close(fd);
    errno = error;
  }
  // Where the call is to go: the way through /proc leads to the file itself.
  static const char* path_of(int node, const ViewCaller::Order& order, char (&path)[40]) {
    if (order.name[0] != '\0') return order.name;
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", node);
    return path;
  }
  static int touch(int node, const ViewCaller::Order& order) {
    const timespec times[2] = {{0, order.access != 0 ? UTIME_NOW : UTIME_OMIT},
                               {0, order.change != 0 ? UTIME_NOW : UTIME_OMIT}};
    char path[40];
    return ::utimensat(node, path_of(node, order, path), times,
                       order.name[0] != '\0' ? AT_SYMLINK_NOFOLLOW : 0);
  }
  static int open_and_close(int node, const ViewCaller::Order& order) {
    char path[40];
    const char* const name = path_of(node, order, path);
    struct stat st {};
    const bool named = order.name[0] != '\0';
    if (::fstatat(node, name, &st, named ? AT_SYMLINK_NOFOLLOW : 0) != 0) return -1;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return 0;  // a pipe would wait
    const int how =
        S_ISDIR(st.st_mode) ? O_RDONLY | O_DIRECTORY : (order.write != 0 ? O_WRONLY : O_RDONLY);
    const int fd = ::openat(node, name, how | O_CLOEXEC | O_NOCTTY | (named ? O_NOFOLLOW : 0));
    return fd < 0 ? -1 : ::close(fd);
  }

  const char* const mountpoint_;
  int mount_ = -1;
  int ghosts_ = -1;
};

[[noreturn]] void run(int orders, const char* mountpoint) {
  ::signal(SIGTERM, SIG_DFL);
  if (orders != kOrders) {
    ::dup2(orders, kOrders);
    ::fcntl(kOrders, F_SETFD, FD_CLOEXEC);
  }
  ::close_range(kOrders + 1, ~0U, 0);
  Caller caller(mountpoint);
  ViewCaller::Order order;
  while (::recv(kOrders, &order, sizeof order, 0) == sizeof order) {
    const int error = caller.carry_out(order);
    if (::send(kOrders, &error, sizeof error, MSG_NOSIGNAL) != sizeof error) break;
  }
  ::_exit(0);
}

}  // namespace

void set_name(char (&to)[256], const std::string& name) {
  const std::size_t size = std::min(name.size(), sizeof to - 1);
  std::memcpy(to, name.data(), size);
  to[size] = '\0';
}

bool ViewCaller::start() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return false;
  UniqueFd ours(pair[0]);
  const UniqueFd its(pair[1]);
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) run(*its, mountpoint_.c_str());
  pid_ = child;
  orders_ = std::move(ours);
  return true;
}

int ViewCaller::call(const Order& order) {
  if (!orders_ && !start()) return errno;
  int error = 0;
  if (::send(*orders_, &order, sizeof order, MSG_NOSIGNAL) == sizeof order &&
      ::recv(*orders_, &error, sizeof error, 0) == sizeof error) {
    return error;
  }
  stop();  // it is gone; the next call has another one
  return EIO;
}

void ViewCaller::stop() {
  orders_.reset();
  if (const pid_t pid = pid_.exchange(0); pid != 0) ::waitpid(pid, nullptr, 0);
}

}  // namespace ssi::fs
