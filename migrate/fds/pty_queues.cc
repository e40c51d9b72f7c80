#include "migrate/fds/pty_queues.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

namespace ssi::fds {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kArrivalTimeout = std::chrono::seconds(1);  // of what was written at the other side
constexpr auto kBetweenLooks = std::chrono::microseconds(200);

// With packets, a byte of status comes before what is read.
class WithoutPackets {
 public:
  explicit WithoutPackets(int master) : master_(master) {
    if (::ioctl(master_, TIOCGPKT, &packets_) == 0 && packets_ != 0) set(0);
  }
  ~WithoutPackets() {
    if (packets_ != 0) set(1);
  }
  WithoutPackets(const WithoutPackets&) = delete;
  WithoutPackets& operator=(const WithoutPackets&) = delete;

 private:
  void set(int on) const { (void)::ioctl(master_, TIOCPKT, &on); }
  int master_;
  int packets_ = 0;
};

// For the time being the terminal has other settings. None that would make the kernel count lines
// anew (ICANON, EXTPROC) while there is anything in the queue.
class Settings {
 public:
  static Result<Settings> of(int slave) {
    Settings settings(slave);
    if (::tcgetattr(slave, &settings.modes_) != 0) return Error::from_errno("ask a terminal");
    return settings;
  }
  Settings(Settings&& other) noexcept
      : slave_(std::exchange(other.slave_, -1)), modes_(other.modes_) {}
  Settings& operator=(Settings&&) = delete;
  ~Settings() {
    if (slave_ >= 0) (void)::tcsetattr(slave_, TCSANOW, &modes_);
  }

  const termios& modes() const { return modes_; }
  bool works_in_lines() const { return (modes_.c_lflag & (ICANON | EXTPROC)) == ICANON; }
  Result<> change(const termios& modes) const {
    if (::tcsetattr(slave_, TCSANOW, &modes) != 0) return Error::from_errno("set a terminal");
    return {};
  }

 private:
  explicit Settings(int slave) : slave_(slave) {}
  int slave_;
  termios modes_{};
};

// What is read without waiting; nullopt: there is nothing. The end of a file is "".
Result<std::optional<std::string>> read_some(int slave) {
  std::string bytes(8192, '\0');
  const ssize_t n = ::read(slave, bytes.data(), bytes.size());
  if (n < 0 && errno == EAGAIN) return std::optional<std::string>();
  if (n < 0) return Error::from_errno("read a terminal");
  bytes.resize(static_cast<std::size_t>(n));
  return std::optional(std::move(bytes));
}

PtyInput::End end_of(const std::string& line, const termios& modes) {
  const auto ends = [&](cc_t c) { return c != 0 && line.back() == static_cast<char>(c); };
  const bool character =
      !line.empty() && (line.back() == '\n' || ends(modes.c_cc[VEOL]) || ends(modes.c_cc[VEOL2]));
  return character ? PtyInput::End::kCharacter : PtyInput::End::kEndOfFile;
}

Error too_much() {
  return Error(ErrorCode::kBusy, "more waits in a terminal of its own than can move along");
}

Result<> take_lines(int slave, const termios& modes, std::vector<PtyInput>& input) {
  for (;;) {
    SSI_ASSIGN(auto line, read_some(slave));
    if (!line) return {};
    const auto end = end_of(*line, modes);
    input.push_back({std::move(*line), end});
    if (input.size() > kPtyInputMax) return too_much();
  }
}

// What is being typed is not to be read as a line.
Result<> take_rest(int slave, std::vector<PtyInput>& input) {
  std::string rest;
  for (;;) {
    SSI_ASSIGN(const auto some, read_some(slave));
    if (!some || some->empty()) break;
    rest += *some;
  }
  if (!rest.empty()) input.push_back({std::move(rest), PtyInput::End::kNone});
  return {};
}

Result<> take_input(int slave, std::vector<PtyInput>& input) {
  SSI_ASSIGN(const Settings settings, Settings::of(slave));
  if (!settings.works_in_lines()) return take_rest(slave, input);
  SSI_TRY(take_lines(slave, settings.modes(), input));
  termios raw = settings.modes();
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON);
  SSI_TRY(settings.change(raw));
  return take_rest(slave, input);
}

bool readable(int fd, int timeout_ms) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, timeout_ms) > 0 && (polled.revents & POLLIN) != 0;
}

// The process's own open file, which may be one that waits.
Result<> take_output(int master, std::string& output) {
  char bytes[4096];
  while (readable(master, 0)) {
    const ssize_t n = ::read(master, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno == EIO)) return {};  // no slave is open
    if (n < 0) return Error::from_errno("read a pty master");
    output.append(bytes, static_cast<std::size_t>(n));
  }
  return {};
}

std::size_t bytes_in(const std::vector<PtyInput>& input) {
  std::size_t bytes = 0;
  for (const PtyInput& i : input) bytes += i.bytes.size() + 1;
  return bytes;
}

Result<> write_all(int fd, std::string_view bytes) {
  const auto deadline = Clock::now() + kArrivalTimeout;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if ((n < 0 && errno != EAGAIN) || Clock::now() > deadline) {
      return Error::from_errno("fill a terminal's queue", n < 0 ? errno : EAGAIN);
    } else {
      std::this_thread::sleep_for(kBetweenLooks);
    }
  }
  return {};
}

// Not at once: the kernel carries it over by a worker.
Result<> await_bytes(int slave, std::size_t wanted) {
  const auto deadline = Clock::now() + kArrivalTimeout;
  for (;;) {
    int there = 0;
    if (::ioctl(slave, FIONREAD, &there) != 0) return Error::from_errno("ask a terminal");
    if (static_cast<std::size_t>(there) >= wanted) return {};
    if (Clock::now() > deadline) return Error(ErrorCode::kTimeout, "a terminal takes no input");
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

Result<> await_echo(int master, std::size_t wanted) {
  const auto deadline = Clock::now() + kArrivalTimeout;
  for (std::string echo; echo.size() < wanted;) {
    SSI_TRY(take_output(master, echo));
    if (Clock::now() > deadline) return Error(ErrorCode::kTimeout, "a terminal takes no input");
    if (echo.size() < wanted) (void)readable(master, 1);
  }
  return {};
}

// One that is no byte of the input and does not end a line by itself.
cc_t unused_character(const std::vector<PtyInput>& input, const termios& modes) {
  for (unsigned c = 1; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    const bool used = c == '\n' || c == modes.c_cc[VEOL] || c == modes.c_cc[VEOL2] ||
                      std::ranges::any_of(input, [&](const PtyInput& i) {
                        return i.bytes.find(byte) != std::string::npos;
                      });
    if (!used) return static_cast<cc_t>(c);
  }
  return 0;
}

// By lines: only the echo tells that a line that is not complete has arrived.
Result<> put_lines(int master, int slave, const Settings& settings,
                   const std::vector<PtyInput>& input) {
  termios quiet = settings.modes();
  const cc_t end_of_file = unused_character(input, quiet);
  quiet.c_iflag = quiet.c_oflag = 0;
  quiet.c_lflag = (settings.modes().c_lflag & IEXTEN) | ICANON | ECHO;
  std::fill_n(quiet.c_cc, NCCS, cc_t{0});
  quiet.c_cc[VEOF] = end_of_file;
  quiet.c_cc[VEOL] = settings.modes().c_cc[VEOL];
  quiet.c_cc[VEOL2] = settings.modes().c_cc[VEOL2];
  SSI_TRY(settings.change(quiet));
  for (const PtyInput& i : input) {
    SSI_TRY(write_all(master, i.bytes));
    SSI_TRY(await_echo(master, i.bytes.size()));
    if (i.end != PtyInput::End::kEndOfFile) continue;
    SSI_TRY(write_all(master, std::string(1, static_cast<char>(end_of_file))));
    if (!readable(slave, 1000)) return Error(ErrorCode::kTimeout, "a terminal takes no input");
  }
  // The last end of a file has no echo: let the worker have had its turn.
  if (!input.empty() && input.back().end == PtyInput::End::kEndOfFile) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {};
}

Result<> put_raw(int master, int slave, const Settings& settings,
                 const std::vector<PtyInput>& input) {
  termios quiet = settings.modes();
  quiet.c_iflag = quiet.c_oflag = 0;
  quiet.c_lflag &= ICANON | EXTPROC;
  SSI_TRY(settings.change(quiet));
  std::string bytes;
  for (const PtyInput& i : input) bytes += i.bytes;
  SSI_TRY(write_all(master, bytes));
  return await_bytes(slave, bytes.size());
}

Result<> put_output(int slave, const Settings& settings, const std::string& output) {
  termios quiet = settings.modes();
  quiet.c_oflag = 0;
  quiet.c_lflag &= ~static_cast<tcflag_t>(TOSTOP);
  SSI_TRY(settings.change(quiet));
  return write_all(slave, output);
}

// Also of one that is locked.
Result<UniqueFd> open_slave(int master) {
  int locked = 0, open = 0;
  (void)::ioctl(master, TIOCGPTLCK, &locked);
  if (locked != 0) (void)::ioctl(master, TIOCSPTLCK, &open);
  UniqueFd slave(::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  const int error = errno;
  if (locked != 0) (void)::ioctl(master, TIOCSPTLCK, &locked);
  if (!slave) return Error::from_errno("open a terminal's slave", error);
  return slave;
}

bool was_closed(int master) {
  pollfd polled{master, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0;
}

}  // namespace

Result<StillPty> StillPty::hold(UniqueFd master, bool slave_open) {
  const Slave slave = slave_open            ? Slave::kOpen
                      : was_closed(*master) ? Slave::kClosed
                                            : Slave::kNone;
  return hold_new(std::move(master), slave);
}

Result<StillPty> StillPty::hold_new(UniqueFd master, Slave slave) {
  if (slave == Slave::kNone) return StillPty(std::move(master), UniqueFd(), slave);
  SSI_ASSIGN(UniqueFd fd, open_slave(*master));
  return StillPty(std::move(master), std::move(fd), slave);
}

Result<> StillPty::take(PtyQueues& queues) const {
  if (!slave_) return {};
  const WithoutPackets without(*master_);
  // First this: what the kernel makes of it may be echoed.
  SSI_TRY(take_input(*slave_, queues.input));
  SSI_TRY(take_output(*master_, queues.output));
  const bool fits = bytes_in(queues.input) <= kPtyInputMax && queues.output.size() <= kPtyOutputMax;
  return fits ? Result<>() : Result<>(too_much());
}

Result<> StillPty::put(const PtyQueues& queues) const {
  if (!slave_) return {};
  const WithoutPackets without(*master_);
  SSI_ASSIGN(const Settings settings, Settings::of(*slave_));
  if (!queues.input.empty()) {
    SSI_TRY(settings.works_in_lines() ? put_lines(*master_, *slave_, settings, queues.input)
                                      : put_raw(*master_, *slave_, settings, queues.input));
  }
  return queues.output.empty() ? Result<>() : put_output(*slave_, settings, queues.output);
}

}  // namespace ssi::fds
