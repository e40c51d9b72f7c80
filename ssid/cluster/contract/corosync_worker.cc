#include "ssid/cluster/contract/corosync_worker.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "ssid/cluster/contract/contract_world.h"
#include "ssid/cluster/corosync/corosync_cluster.h"

namespace ssi {
namespace {

namespace asio = boost::asio;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

void enter(pid_t process) {
  // All at once, through a pidfd.
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
  if (fd < 0) die("pidfd_open");
  if (::setns(fd, CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    die("setns");
  }
  ::close(fd);
  if (::chdir("/") != 0) die("chdir");
}

std::string list(const std::vector<NodeId>& nodes) {
  std::string text = "[";
  for (const NodeId node : nodes) text += " " + std::to_string(node.value);
  return text + " ]";
}

class Worker {
 public:
  explicit Worker(int socket) : socket_(loop_, socket) {}

  void run() {
    cluster_ = make_corosync_cluster(loop_, {.log = [](const std::string& line) {
                                       std::fprintf(stderr, "%s\n", line.c_str());
                                     }});
    const auto started =
        cluster_->start({.on_view =
                             [this](const View& view, const auto& joined, const auto& left) {
                               say("view " + std::to_string(view.quorate) + " " +
                                   list(view.members) + " " + list(joined) + " " + list(left));
                             },
                         .on_message =
                             [this](const View& view, NodeId from, auto bytes) {
                               const Observation seen = observe_message(view, from, bytes);
                               std::ostringstream line;
                               line << "message " << from.value << " " << seen.seq << " "
                                    << seen.size << " " << seen.intact << " "
                                    << seen.sender_in_view;
                               say(line.str());
                             },
                         .on_nodes = nullptr});
    if (!started) die(started.error().message().c_str());
    read();
    loop_.run();
    std::_Exit(0);
  }

 private:
  void say(const std::string& line) {
    if (::send(socket_.native_handle(), line.data(), line.size(), MSG_NOSIGNAL) < 0) std::_Exit(0);
  }

  void read() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const auto&) {
      char line[256];
      const ssize_t size = ::recv(socket_.native_handle(), line, sizeof line - 1, 0);
      if (size <= 0) std::_Exit(0);
      line[size] = 0;
      obey(line);
      read();
    });
  }

  void obey(const std::string& command) {
    std::istringstream in(command);
    std::string verb;
    in >> verb;
    if (verb == "die") ::kill(::getpid(), SIGKILL);
    if (verb == "send") {
      std::uint64_t seq = 0;
      std::uint64_t size = 0;
      bool quorum = false;
      in >> seq >> size >> quorum;
      const auto sent =
          cluster_->send(contract_message(seq, size), quorum ? Needs::kQuorum : Needs::kNothing);
      say(sent ? "= ok"
               : "= " + std::to_string(static_cast<int>(sent.error().code())) + " " +
                     sent.error().message());
    }
    if (verb == "info") {
      std::ostringstream line;
      line << "= " << cluster_->self().value << " " << cluster_->may_commit() << " "
           << list(cluster_->up());
      for (const Node& node : cluster_->nodes()) {
        line << " " << node.id.value << " " << node.name << " " << node.addresses.size();
        for (const auto& address : node.addresses) line << " " << address;
      }
      say(line.str());
    }
  }

  asio::io_context loop_{1};
  asio::posix::stream_descriptor socket_;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace

void run_corosync_worker(pid_t node_process, int socket) {
  enter(node_process);
  // The PID namespace is that of the children: corosync wants to see who talks to it.
  const pid_t child = ::fork();
  if (child < 0) die("fork");
  if (child > 0) {
    ::close(socket);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    std::_Exit(0);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Worker(socket).run();
  std::_Exit(0);
}

}  // namespace ssi
