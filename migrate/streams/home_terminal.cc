// The terminal at home. The carrier is in nobody's session, so the kernel lets it read, write and
// set any terminal; job control is therefore done here, for the guest's process, as the kernel
// would do it.
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <cerrno>
#include <string>

#include "migrate/streams/newlines.h"
#include "migrate/streams/stream_device.h"
#include "ssid/base/proc_job.h"

namespace ssi::migrate {
namespace {

class HomeTerminal final : public StreamDevice {
 public:
  explicit HomeTerminal(pid_t owner) : owner_(owner) {}

  ssize_t read(int fd, char* to, std::size_t size) override {
    const ssize_t got = ::read(fd, to, size);
    if (got != 0 || size == 0) return got;
    termios modes{};
    if (::tcgetattr(fd, &modes) != 0) return 0;  // it was hung up
    if ((modes.c_lflag & ICANON) == 0) {
      errno = EAGAIN;  // VMIN is 0
      return -1;
    }
    // Ctrl-D is not the end of everything, only of this read.
    *to = static_cast<char>(modes.c_cc[VEOF]);
    return 1;
  }

  ssize_t write(int fd, const char* from, std::size_t size) override {
    termios modes{};
    const bool adds_returns =
        ::tcgetattr(fd, &modes) == 0 && (modes.c_oflag & (OPOST | ONLCR)) == (OPOST | ONLCR);
    if (!adds_returns) return StreamDevice::write(fd, from, size);
    // The guest's terminal has put a return before each newline; so would this one.
    const std::string plain = without_returns({from, size});
    const ssize_t put = StreamDevice::write(fd, plain.data(), plain.size());
    if (put < 0) return put;
    return static_cast<ssize_t>(
        bytes_before_returns_went({from, size}, static_cast<std::size_t>(put)));
  }

  bool may_read(int fd) override { return in_foreground(fd, SIGTTIN, told_read_); }
  bool piecewise() const override { return true; }

  bool has_state() const override { return true; }
  std::optional<TerminalState> state(int fd) override {
    auto state = read_terminal(fd);
    if (!state) return std::nullopt;
    return *state;
  }
  bool set_state(int fd, const TerminalState& wanted) override {
    const auto now = read_terminal(fd);
    if (!now) return true;  // it was hung up
    TerminalState state = wanted;
    state.rows = state.columns = 0;  // the size is the user's
    TerminalState same = *now;
    same.rows = same.columns = 0;
    same.x_pixels = state.x_pixels;
    same.y_pixels = state.y_pixels;
    same.control = state.control;
    if (same == state) return true;
    if (!in_foreground(fd, SIGTTOU, told_set_)) return false;
    (void)set_terminal(fd, state, false);
    return true;
  }

 private:
  // Else its process group is told by `signo`, once.
  bool in_foreground(int fd, int signo, bool& told) {
    const auto job = proc_job(owner_);
    struct stat st {};
    const bool controlled = job && ::fstat(fd, &st) == 0 && job->terminal == st.st_rdev;
    if (!controlled || job->group == job->foreground) {
      told = false;
      return true;
    }
    if (!told && job->group > 1) (void)::kill(-job->group, signo);  // -1 would be everybody
    told = true;
    return false;
  }

  const pid_t owner_;
  bool told_read_ = false;
  bool told_set_ = false;
};

}  // namespace

std::unique_ptr<StreamDevice> home_terminal(pid_t owner) {
  return std::make_unique<HomeTerminal>(owner);
}

}  // namespace ssi::migrate
