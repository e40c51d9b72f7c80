// lab-enter: runs a command on a lab node and passes on stdio, signals and exit status, as ssh
// would.
//
//   lab-enter SOCKET [-t | -T] [--cwd DIR] [--env NAME=VALUE]... [--] CMD ARG...
//
// Exit status: the command's, 128+N if signal N ended it, 127 if it can't be run, 255 if the lab
// failed. -t gives the command a terminal of the node's own (the default when stdin and stdout are
// terminals), -T none.
//
// The node gets pipes and sockets as they are, but never a file or terminal that was opened outside
// of its mount namespace: a process that holds one could not be checkpointed, and on a real machine
// there are none. Those are pumped.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>

#include "tests/lab/init/message.h"
#include "tests/lab/init/pump.h"

namespace ssi::lab {

namespace {

constexpr int kLabFailed = 255;
constexpr int kNotFound = 127;  // as a shell says it

struct Options {
  std::string socket_path;
  ExecRequest request;
};

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  options.request.tty = ::isatty(0) == 1 && ::isatty(1) == 1;
  options.request.cwd = "/root";
  int i = 1;
  if (i < argc) options.socket_path = argv[i++];
  for (; i < argc && argv[i][0] == '-'; ++i) {
    const std::string_view name = argv[i];
    if (name == "--") {
      ++i;
      break;
    }
    if (name == "-t") {
      options.request.tty = true;
    } else if (name == "-T") {
      options.request.tty = false;
    } else if (name == "--cwd" && i + 1 < argc) {
      options.request.cwd = argv[++i];
    } else if (name == "--env" && i + 1 < argc) {
      options.request.env.emplace_back(argv[++i]);
    } else {
      return Error(ErrorCode::kUsage, "unknown option: " + std::string(name));
    }
  }
  options.request.argv.assign(argv + i, argv + argc);
  if (options.request.argv.empty()) return Error(ErrorCode::kUsage, "no command");
  return options;
}

Result<UniqueFd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error("socket path too long");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  if (::connect(*fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error("the node is not up");
  }
  return fd;
}

// The terminal of the one who types, raw while the command has its own. Put back on destruction.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(0, &saved_) != 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    armed_ = ::tcsetattr(0, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (armed_) ::tcsetattr(0, TCSADRAIN, &saved_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios saved_{};
  bool armed_ = false;
};

bool is_passable(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

bool is_same_file(int a, int b) {
  struct stat left {};
  struct stat right {};
  return ::fstat(a, &left) == 0 && ::fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
         left.st_ino == right.st_ino;
}

// The three descriptors for the node, and the pumps behind those that could not be passed.
struct Stdio {
  std::vector<UniqueFd> owned;  // node's pipe ends; dropped once sent
  std::vector<int> sent;
  std::unique_ptr<Pump> in;
  UniqueFd in_end;
  std::vector<std::unique_ptr<Pump>> out;
  std::vector<UniqueFd> out_ends;
};

Result<> pump_stdin(Stdio& stdio) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  stdio.owned.emplace_back(ends[0]);
  stdio.sent.push_back(ends[0]);
  stdio.in_end.reset(ends[1]);
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  stdio.in = std::make_unique<Pump>(0, ends[1]);
  return {};
}

Result<> pump_output(Stdio& stdio, int fd) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  stdio.owned.emplace_back(ends[1]);
  stdio.sent.push_back(ends[1]);
  stdio.out_ends.emplace_back(ends[0]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  stdio.out.push_back(std::make_unique<Pump>(ends[0], fd));
  return {};
}

Result<Stdio> prepare_stdio() {
  Stdio stdio;
  if (is_passable(0)) {
    stdio.sent.push_back(0);
  } else {
    SSI_TRY(pump_stdin(stdio));
  }
  for (int fd = 1; fd <= 2; ++fd) {
    if (is_passable(fd)) {
      stdio.sent.push_back(fd);
    } else if (fd == 2 && is_same_file(1, 2)) {
      stdio.sent.push_back(stdio.sent[1]);  // one pipe: the order of the lines stays
    } else {
      SSI_TRY(pump_output(stdio, fd));
    }
  }
  return stdio;
}

class Client {
 public:
  explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<int> run(ExecRequest request) {
    block_signals();
    std::optional<RawTerminal> raw;
    if (request.tty) {
      winsize size{};
      if (::ioctl(0, TIOCGWINSZ, &size) == 0) {
        request.rows = size.ws_row;
        request.cols = size.ws_col;
      }
      SSI_TRY(send_message(*socket_, to_fields(request)));
    } else {
      SSI_ASSIGN(stdio_, prepare_stdio());
      SSI_TRY(send_message(*socket_, to_fields(request), stdio_.sent));
      stdio_.owned.clear();
    }
    SSI_ASSIGN(Message first, receive_message(*socket_));
    if (first.verb() == "error" && first.fields.size() > 1) {
      return Error(first.fields.size() > 2 ? ErrorCode::kRefused : ErrorCode::kFailed,
                   first.fields[1]);
    }
    if (first.verb() != "started") return Error("the node went down");
    if (request.tty) {
      if (first.fds.empty()) return Error("no terminal came");
      master_ = std::move(first.fds[0]);
      stdio_.in = std::make_unique<Pump>(0, *master_);
      stdio_.out.push_back(std::make_unique<Pump>(*master_, 1));
      raw.emplace();
    }
    return serve();
  }

 private:
  void block_signals() {
    sigset_t passed;
    sigemptyset(&passed);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH}) {
      sigaddset(&passed, number);
    }
    ::sigprocmask(SIG_BLOCK, &passed, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    signals_.reset(::signalfd(-1, &passed, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  Result<int> serve() {
    for (;;) {
      std::vector<pollfd> polls = {{*socket_, POLLIN, 0}, {*signals_, POLLIN, 0}};
      polls.push_back(stdio_.in ? stdio_.in->wanted() : pollfd{-1, 0, 0});
      for (const auto& pump : stdio_.out) polls.push_back(pump->wanted());
      if (::poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) {
        return Error::from_errno("poll");
      }
      if (polls[1].revents != 0) pass_signals();
      if (stdio_.in) {
        stdio_.in->step(polls[2].revents);
        if (stdio_.in->done()) stdio_.in_end.reset();
      }
      for (size_t i = 0; i < stdio_.out.size(); ++i) step_out(i, polls[i + 3].revents);
      if (polls[0].revents == 0) continue;
      SSI_ASSIGN(const Message message, receive_message(*socket_));
      drain();
      if (message.closed || message.fields.size() < 2) return Error("the node went down");
      SSI_ASSIGN(const int number, to_number(message.fields[1], 0, 255));
      return message.verb() == "killed" ? 128 + number : number;
    }
  }

  // A closed stdout must reach the command as SIGPIPE: drop the pipe's read end.
  void step_out(size_t i, short revents) {
    stdio_.out[i]->step(revents);
    if (stdio_.out[i]->done() && i < stdio_.out_ends.size()) stdio_.out_ends[i].reset();
  }

  // What the command wrote before it ended is in the pipe already; what its children in the
  // background may still write is not waited for.
  void drain() {
    for (size_t i = 0; i < stdio_.out.size(); ++i) {
      for (;;) {
        pollfd one = stdio_.out[i]->wanted();
        if (one.fd < 0 || ::poll(&one, 1, 0) <= 0 || !stdio_.out[i]->step(one.revents)) break;
      }
    }
  }

  void pass_signals() {
    signalfd_siginfo info;
    while (::read(*signals_, &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGWINCH) {
        winsize size{};
        if (master_ && ::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(*master_, TIOCSWINSZ, &size);
        continue;
      }
      // The session may be about to end: its last word comes on the same socket.
      (void)send_message(*socket_, {"signal", std::to_string(info.ssi_signo)});
    }
  }

  UniqueFd socket_;
  UniqueFd signals_;
  UniqueFd master_;
  Stdio stdio_;
};

Result<int> enter(int argc, char** argv) {
  SSI_ASSIGN(Options options, parse_options(argc, argv));
  if (const char* term = ::getenv("TERM"); term != nullptr && options.request.tty) {
    options.request.env.insert(options.request.env.begin(), std::string("TERM=") + term);
  }
  SSI_ASSIGN(UniqueFd socket, connect_to(options.socket_path));
  return Client(std::move(socket)).run(std::move(options.request));
}

}  // namespace

}  // namespace ssi::lab

int main(int argc, char** argv) {
  const auto status = ssi::lab::enter(argc, argv);
  if (status) return *status;
  std::fprintf(stderr, "lab: exec: %s\n", status.error().message().c_str());
  switch (status.error().code()) {
    case ssi::ErrorCode::kUsage:
      return 2;
    case ssi::ErrorCode::kRefused:
      return ssi::lab::kNotFound;
    default:
      return ssi::lab::kLabFailed;
  }
}
