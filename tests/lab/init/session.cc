#include "tests/lab/init/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

namespace ssi::lab {

namespace {

constexpr int kNotFound = 127;

struct Pty {
  UniqueFd master;
  std::string slave_path;
};

Result<Pty> open_pty(const ExecRequest& request) {
  Pty pty;
  pty.master.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.master || ::grantpt(*pty.master) != 0 || ::unlockpt(*pty.master) != 0) {
    return Error::from_errno("open a terminal");
  }
  char path[64];
  if (::ptsname_r(*pty.master, path, sizeof path) != 0) return Error::from_errno("name a terminal");
  pty.slave_path = path;
  const winsize size{request.rows, request.cols, 0, 0};
  if (request.rows > 0) ::ioctl(*pty.master, TIOCSWINSZ, &size);
  return pty;
}

// In the command's process, between fork and exec. Returns only on failure, with errno set.
void become(const ExecRequest& request, const std::vector<UniqueFd>& fds, const Pty& pty,
            char** argv, char** env) {
  if (::setsid() < 0) return;
  if (request.tty) {
    const int slave = ::open(pty.slave_path.c_str(), O_RDWR);
    if (slave < 0 || ::ioctl(slave, TIOCSCTTY, 0) != 0) return;
    for (int fd = 0; fd < 3; ++fd) {
      if (::dup2(slave, fd) < 0) return;
    }
    if (slave > 2) ::close(slave);
  } else {
    for (int fd = 0; fd < 3; ++fd) {
      if (::dup2(*fds[static_cast<size_t>(fd)], fd) < 0) return;
    }
  }
  if (::chdir(request.cwd.c_str()) != 0) return;
  reset_signals();
  ::execvpe(argv[0], argv, env);
}

std::vector<std::string> environment(const ExecRequest& request) {
  std::vector<std::string> env = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=/root",
      "USER=root",
      "LOGNAME=root",
      "SHELL=/bin/bash",
      "LANG=C.UTF-8"};
  env.insert(env.end(), request.env.begin(), request.env.end());
  return env;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct Started {
  pid_t pid = 0;
  UniqueFd pidfd;
};

// Forks and executes; an exec that fails is reported through a pipe that a good exec closes.
Result<Started> start(ExecRequest& request, const std::vector<UniqueFd>& fds, const Pty& pty) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  std::vector<std::string> env_strings = environment(request);
  std::vector<char*> env = pointers(env_strings);
  std::vector<char*> argv = pointers(request.argv);
  Started started;
  started.pid = ::fork();
  if (started.pid < 0) return Error::from_errno("fork");
  if (started.pid == 0) {
    // stdio is about to be replaced: keep the pipe out of its way.
    const int report = ::fcntl(*write_end, F_DUPFD_CLOEXEC, 3);
    become(request, fds, pty, argv.data(), env.data());
    const int error = errno;
    if (::write(report, &error, sizeof error) < 0) ::_exit(kNotFound - 1);
    ::_exit(kNotFound);
  }
  started.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, started.pid, 0)));
  write_end.reset();
  int error = 0;
  if (::read(*read_end, &error, sizeof error) == sizeof error) {
    ::waitpid(started.pid, nullptr, 0);
    return Error(ErrorCode::kRefused, Error::from_errno(request.argv[0], error).message());
  }
  if (!started.pidfd) return Error::from_errno("pidfd_open");
  return started;
}

// What a terminal or a shutdown sends goes to the command's whole group, the rest to the command.
bool is_for_all(int signal) {
  return signal == SIGINT || signal == SIGQUIT || signal == SIGHUP || signal == SIGTERM;
}

// Passes signals on until the command has ended; returns its wait status.
int serve(int socket, const Started& started) {
  pollfd polls[2] = {{*started.pidfd, POLLIN, 0}, {socket, POLLIN, 0}};
  for (;;) {
    if (::poll(polls, 2, -1) < 0 && errno != EINTR) break;
    if ((polls[0].revents & POLLIN) != 0) break;
    if (polls[1].revents == 0) continue;
    auto message = receive_message(socket);
    if (!message || message->closed) {
      ::kill(-started.pid, SIGHUP);
      ::kill(-started.pid, SIGCONT);
      polls[1].fd = -1;
      continue;
    }
    if (message->verb() != "signal" || message->fields.size() != 2) continue;
    if (auto number = to_number(message->fields[1], 1, SIGRTMAX)) {
      ::kill(is_for_all(*number) ? -started.pid : started.pid, *number);
    }
  }
  int status = 0;
  while (::waitpid(started.pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Result<> run(int socket, Message& message) {
  SSI_ASSIGN(ExecRequest request, to_exec_request(message.fields));
  Pty pty;
  if (request.tty) {
    SSI_ASSIGN(pty, open_pty(request));
  } else if (message.fds.size() != 3) {
    return Error("exec: want three descriptors");
  }
  SSI_ASSIGN(const Started started, start(request, message.fds, pty));
  message.fds.clear();
  std::vector<int> sent;
  if (request.tty) sent.push_back(*pty.master);
  const auto told = send_message(socket, {"started", std::to_string(started.pid)}, sent);
  pty.master.reset();
  if (!told) ::kill(-started.pid, SIGHUP);
  const int status = serve(socket, started);
  const bool killed = WIFSIGNALED(status);
  // The asker may have gone meanwhile: nobody is left to tell.
  (void)send_message(socket, {killed ? "killed" : "exit",
                              std::to_string(killed ? WTERMSIG(status) : WEXITSTATUS(status))});
  return {};
}

}  // namespace

void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number < NSIG; ++number) {
    if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
  }
}

void run_session(UniqueFd socket, Message message) {
  ::prctl(PR_SET_NAME, "lab-session");
  const auto result = run(*socket, message);
  if (!result) {
    std::vector<std::string> fields = {"error", result.error().message()};
    if (result.error().code() == ErrorCode::kRefused) fields.push_back(std::to_string(kNotFound));
    (void)send_message(*socket, fields);
  }
  ::_exit(0);
}

}  // namespace ssi::lab
