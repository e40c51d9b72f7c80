// The terminal made for a guest. Its master is in packet mode: each read begins with a byte that
// says whether data follow or what has happened.
#include <asm/ioctls.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>

#include <cerrno>
#include <utility>

#include "migrate/streams/stream_device.h"

namespace ssi::migrate {
namespace {

class GuestTerminal final : public StreamDevice {
 public:
  explicit GuestTerminal(int slave) : slave_(slave) {}

  ssize_t read(int master, char* to, std::size_t size) override {
    char kind = 0;
    iovec parts[] = {{&kind, 1}, {to, size}};
    const ssize_t got = ::readv(master, parts, 2);
    if (got <= 0) return got;
    if (kind == TIOCPKT_DATA) return got - 1;
    if ((kind & TIOCPKT_IOCTL) != 0) changed_ = true;
    errno = EINTR;  // no data, and nothing said about them
    return -1;
  }

  std::uint64_t unread(int) override {
    pollfd slave{slave_, POLLIN, 0};
    (void)::poll(&slave, 1, 0);  // the kernel passes on what it has
    return StreamDevice::unread(slave_);
  }
  std::uint64_t take_back(int master) override {
    const std::uint64_t taken = unread(master);
    (void)::tcflush(slave_, TCIFLUSH);
    return taken;
  }
  bool has_returns() const override { return true; }
  bool piecewise() const override { return true; }

  bool has_state() const override { return true; }
  bool state_changed() override { return std::exchange(changed_, false); }
  std::optional<TerminalState> state(int) override {
    auto state = read_terminal(slave_);
    if (!state) return std::nullopt;
    // Not without need: it would be told as a change.
    if (!is_external(slave_)) (void)set_terminal(slave_, *state, true);
    return *state;
  }
  bool set_state(int, const TerminalState& state) override {
    (void)set_terminal(slave_, state, true);
    return true;
  }

 private:
  const int slave_;
  bool changed_ = false;
};

}  // namespace

std::unique_ptr<StreamDevice> guest_terminal(int slave) {
  return std::make_unique<GuestTerminal>(slave);
}

}  // namespace ssi::migrate
