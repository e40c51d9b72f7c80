#include "migrate/net/held_sender.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace ssi::net {
namespace {

// In repair mode for its lifetime; the kernel forgets SO_REUSEADDR in it.
class Repair {
 public:
  static Result<Repair> begin(int socket) {
    int reuse = 0;
    socklen_t size = sizeof reuse;
    const int on = TCP_REPAIR_ON;
    if (::getsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &reuse, &size) != 0 ||
        ::setsockopt(socket, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0) {
      return Error::from_errno("repair a connection");
    }
    return Repair(socket, reuse);
  }
  Repair(Repair&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), reuse_(other.reuse_) {}
  Repair& operator=(Repair&&) = delete;
  ~Repair() {
    if (socket_ < 0) return;
    const int off = TCP_REPAIR_OFF_NO_WP;
    (void)::setsockopt(socket_, IPPROTO_TCP, TCP_REPAIR, &off, sizeof off);
    (void)::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &reuse_, sizeof reuse_);
  }

 private:
  Repair(int socket, int reuse) : socket_(socket), reuse_(reuse) {}
  int socket_;
  int reuse_;
};

// The one that it had.
Result<std::uint32_t> exchange_window(int socket, std::uint32_t bytes) {
  SSI_ASSIGN(const Repair repair, Repair::begin(socket));
  tcp_repair_window window{};
  socklen_t size = sizeof window;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &size) != 0) {
    return Error::from_errno("read a connection's window");
  }
  const std::uint32_t before = std::exchange(window.snd_wnd, bytes);
  if (::setsockopt(socket, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof window) != 0) {
    return Error::from_errno("set a connection's window");
  }
  return before;
}

}  // namespace

Result<std::optional<HeldSender>> HeldSender::hold(UniqueFd socket) {
  struct stat st {};
  if (::fstat(*socket, &st) != 0) return Error::from_errno("look at a socket");
  int queued = 0, unsent = 0;
  if (::ioctl(*socket, SIOCOUTQNSD, &unsent) != 0 || ::ioctl(*socket, SIOCOUTQ, &queued) != 0) {
    return Error::from_errno("ask what a connection has to send");
  }
  if (unsent == 0) return std::optional<HeldSender>();
  // What it sends between the two questions makes the window too small, which is as good.
  const auto in_flight = static_cast<std::uint32_t>(std::max(queued - unsent, 0));
  SSI_ASSIGN(const std::uint32_t before, exchange_window(*socket, in_flight));
  return std::optional(HeldSender(std::move(socket), st.st_ino, before));
}

Result<> HeldSender::let_go() const {
  SSI_TRY(exchange_window(*socket_, window_bytes_));
  return {};
}

}  // namespace ssi::net
