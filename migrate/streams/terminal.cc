#include "migrate/streams/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <algorithm>

namespace ssi::migrate {
namespace {

constexpr std::size_t kCharacters = std::min<std::size_t>(NCCS, sizeof TerminalState::characters);

}  // namespace

Result<TerminalState> read_terminal(int fd) {
  termios modes{};
  if (::tcgetattr(fd, &modes) != 0) return Error::from_errno("ask a terminal for its settings");
  winsize size{};
  (void)::ioctl(fd, TIOCGWINSZ, &size);
  TerminalState state{.input = modes.c_iflag,
                      .output = modes.c_oflag,
                      .control = modes.c_cflag,
                      .local = modes.c_lflag & ~static_cast<tcflag_t>(EXTPROC),
                      .rows = size.ws_row,
                      .columns = size.ws_col,
                      .x_pixels = size.ws_xpixel,
                      .y_pixels = size.ws_ypixel};
  std::copy_n(modes.c_cc, kCharacters, state.characters);
  return state;
}

Result<> set_terminal(int fd, const TerminalState& state, bool external) {
  termios modes{};
  if (::tcgetattr(fd, &modes) != 0) return Error::from_errno("ask a terminal for its settings");
  modes.c_iflag = state.input;
  modes.c_oflag = state.output;
  modes.c_lflag = external ? state.local | EXTPROC : state.local & ~static_cast<tcflag_t>(EXTPROC);
  std::copy_n(state.characters, kCharacters, modes.c_cc);
  if (::tcsetattr(fd, TCSANOW, &modes) != 0) return Error::from_errno("set a terminal");
  if (state.rows == 0 && state.columns == 0) return {};
  const winsize size{state.rows, state.columns, state.x_pixels, state.y_pixels};
  if (::ioctl(fd, TIOCSWINSZ, &size) != 0) return Error::from_errno("set a terminal's size");
  return {};
}

bool is_external(int fd) {
  termios modes{};
  return ::tcgetattr(fd, &modes) == 0 && (modes.c_lflag & EXTPROC) != 0;
}

Result<PtyPair> make_external_pty() {
  PtyPair pair;
  pair.master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!pair.master) return Error::from_errno("make a terminal");
  int unlocked = 0, packets = 1;
  if (::ioctl(*pair.master, TIOCSPTLCK, &unlocked) != 0 ||
      ::ioctl(*pair.master, TIOCPKT, &packets) != 0) {
    return Error::from_errno("make a terminal");
  }
  pair.slave =
      UniqueFd(::ioctl(*pair.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!pair.slave) return Error::from_errno("open a terminal");
  SSI_ASSIGN(const TerminalState state, read_terminal(*pair.slave));
  SSI_TRY(set_terminal(*pair.slave, state, true));
  return pair;
}

}  // namespace ssi::migrate
