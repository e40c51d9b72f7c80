// lab-init: PID 1 of a lab node (and of the lab itself, without services). Reaps, keeps the
// services alive, and runs commands for those who ask on its socket. When it dies the kernel kills
// the node: that is the power cut.
//
//   lab-init --socket FD --ready FD [--service "NAME notify|simple LOG PROGRAM ARG..."]...
//
// FD of --socket is a listening SOCK_SEQPACKET socket, bound by the lab outside the node's root; a
// line is written to --ready once commands are taken. One thread, one poll loop.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/lab/init/message.h"
#include "tests/lab/init/session.h"
#include "tests/lab/init/supervisor.h"

namespace ssi::lab {

namespace {

constexpr const char* kNotifyPath = "/run/lab-notify";
constexpr const char* kServiceSlice = "/sys/fs/cgroup/system.slice";

void log_line(const std::string& text) { std::fprintf(stderr, "lab-init: %s\n", text.c_str()); }

// Starts services as systemd does: own session, own cgroup, output to the log, NOTIFY_SOCKET.
class ForkLauncher : public Launcher {
 public:
  Result<pid_t> launch(const ServiceSpec& spec) override {
    const std::string group = std::string(kServiceSlice) + "/" + spec.name + ".service";
    ::mkdir(kServiceSlice, 0755);
    ::mkdir(group.c_str(), 0755);
    const std::string procs = group + "/cgroup.procs";
    std::vector<std::string> argv_strings = spec.argv;
    std::vector<char*> argv;
    for (std::string& arg : argv_strings) argv.push_back(arg.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    std::string lang = "LANG=C.UTF-8";
    std::string notify = std::string("NOTIFY_SOCKET=") + kNotifyPath;
    char* env[] = {path.data(), lang.data(), spec.notify ? notify.data() : nullptr, nullptr};
    const pid_t pid = ::fork();
    if (pid < 0) return Error::from_errno("fork");
    if (pid == 0) {
      become(spec, procs, argv.data(), env);
      std::fprintf(stderr, "lab-init: start %s: %s\n", spec.name.c_str(), std::strerror(errno));
      ::_exit(127);
    }
    log_line("started " + spec.name + " as " + std::to_string(pid));
    return pid;
  }

  void signal(pid_t pid, int signal) override { ::kill(pid, signal); }

 private:
  static void become(const ServiceSpec& spec, const std::string& procs, char** argv, char** env) {
    if (::setsid() < 0) return;
    const UniqueFd group(::open(procs.c_str(), O_WRONLY | O_CLOEXEC));
    if (!group || ::write(*group, "0", 1) != 1) return;
    const int log =
        ::open(spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0640);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || null < 0) return;
    if (::dup2(null, 0) < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) return;
    if (::chdir("/") != 0) return;
    reset_signals();
    ::execve(argv[0], argv, env);
  }
};

struct Options {
  UniqueFd socket;
  UniqueFd ready;
  std::vector<ServiceSpec> services;
};

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--service") {
      SSI_ASSIGN(ServiceSpec spec, parse_service(argv[i + 1]));
      options.services.push_back(std::move(spec));
      continue;
    }
    SSI_ASSIGN(const int fd, to_number(argv[i + 1], 3, 1 << 20));
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (name == "--socket") options.socket.reset(fd);
    if (name == "--ready") options.ready.reset(fd);
  }
  if (!options.socket || !options.ready) return Error("want --socket FD --ready FD");
  return options;
}

class Init {
 public:
  explicit Init(Options options)
      : socket_(std::move(options.socket)),
        ready_(std::move(options.ready)),
        has_services_(!options.services.empty()),
        supervisor_(std::move(options.services), launcher_) {}

  Result<> run() {
    sigset_t handled;
    sigemptyset(&handled);
    sigaddset(&handled, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &handled, nullptr);
    signals_.reset(::signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) return Error::from_errno("signalfd");
    if (has_services_) SSI_TRY(open_notify());
    if (::write(*ready_, "ready\n", 6) != 6) return Error::from_errno("say ready");
    ready_.reset();
    for (;;) {
      supervisor_.advance(std::chrono::steady_clock::now());
      pollfd polls[3] = {{*signals_, POLLIN, 0}, {*socket_, POLLIN, 0}, {*notify_, POLLIN, 0}};
      if (::poll(polls, 3, timeout_ms()) < 0 && errno != EINTR) return Error::from_errno("poll");
      if (polls[2].revents != 0) on_notify();
      if (polls[0].revents != 0) on_child();
      if (polls[1].revents != 0) on_connection();
    }
  }

 private:
  Result<> open_notify() {
    notify_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, kNotifyPath, sizeof address.sun_path - 1);
    ::unlink(kNotifyPath);
    const int on = 1;
    if (!notify_ ||
        ::bind(*notify_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::setsockopt(*notify_, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
      return Error::from_errno("open the notify socket");
    }
    return {};
  }

  int timeout_ms() const {
    const auto deadline = supervisor_.next_deadline();
    if (!deadline) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
  }

  void on_notify() {
    char text[4096];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * 16)];
    iovec part{text, sizeof text};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t size = ::recvmsg(*notify_, &header, MSG_CMSG_CLOEXEC);
    if (size <= 0) return;
    pid_t sender = 0;
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr;
         item = CMSG_NXTHDR(&header, item)) {
      if (item->cmsg_level != SOL_SOCKET) continue;
      if (item->cmsg_type == SCM_CREDENTIALS) {
        ucred who{};
        std::memcpy(&who, CMSG_DATA(item), sizeof who);
        sender = who.pid;
      } else if (item->cmsg_type == SCM_RIGHTS) {
        const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {  // BARRIER=1 brings one: closing it is the answer
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
          ::close(fd);
        }
      }
    }
    const std::string lines = "\n" + std::string(text, static_cast<size_t>(size)) + "\n";
    if (lines.find("\nREADY=1\n") != std::string::npos) supervisor_.on_ready(sender);
  }

  void on_child() {
    signalfd_siginfo info;
    while (::read(*signals_, &info, sizeof info) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      supervisor_.on_exit(pid, std::chrono::steady_clock::now());
    }
  }

  void on_connection() {
    UniqueFd client(::accept4(*socket_, nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    const timeval patience{1, 0};
    ::setsockopt(*client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    auto message = receive_message(*client);
    if (!message || message->closed) return;
    if (message->verb() == "exec") {
      start_session(std::move(client), std::move(*message));
      return;
    }
    // A client that hangs up before its answer has no use for it.
    (void)send_message(*client, answer(*message));
  }

  void start_session(UniqueFd client, Message message) {
    const timeval forever{0, 0};
    ::setsockopt(*client, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    const pid_t pid = ::fork();
    if (pid < 0) {
      (void)send_message(*client, {"error", Error::from_errno("fork").message()});
      return;
    }
    if (pid == 0) {
      socket_.reset();
      notify_.reset();
      signals_.reset();
      run_session(std::move(client), std::move(message));
    }
  }

  std::vector<std::string> answer(const Message& message) {
    if (message.verb() == "status") {
      std::vector<std::string> fields = supervisor_.status();
      fields.insert(fields.begin(), "ok");
      return fields;
    }
    if (message.verb() == "service" && message.fields.size() >= 3) {
      int number = SIGKILL;
      if (message.fields.size() > 3) {
        auto given = to_number(message.fields[3], 1, SIGRTMAX);
        if (!given) return {"error", given.error().message()};
        number = *given;
      }
      const auto done = supervisor_.command(message.fields[1], message.fields[2], number,
                                            std::chrono::steady_clock::now());
      if (!done) return {"error", done.error().message()};
      return {"ok"};
    }
    return {"error", "unknown request: " + std::string(message.verb())};
  }

  UniqueFd socket_;
  UniqueFd ready_;
  UniqueFd signals_;
  UniqueFd notify_;
  bool has_services_;
  ForkLauncher launcher_;
  Supervisor supervisor_;
};

}  // namespace

}  // namespace ssi::lab

int main(int argc, char** argv) {
  ::prctl(PR_SET_NAME, "lab-init");
  auto options = ssi::lab::parse_options(argc, argv);
  if (!options) {
    ssi::lab::log_line(options.error().message());
    return 2;
  }
  ssi::lab::Init init(std::move(*options));
  const auto result = init.run();
  if (!result) ssi::lab::log_line(result.error().message());
  return 1;
}
