// onall: runs a command on every node that is up, all at the same time.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "loadlevel/cli/command.h"
#include "loadlevel/cli/line_prefixer.h"
#include "loadlevel/cli/remote_run.h"

using namespace ssi;
using namespace ssi::cli;

namespace {

// One stream of one node's command, as it comes.
struct Output {
  UniqueFd from;
  int to;
  LinePrefixer lines;
};

Result<std::vector<std::string>> nodes_up() {
  SSI_ASSIGN(auto client, ControlClient::connect());
  SSI_ASSIGN(const auto status, client.call("cluster.status", nlohmann::json::object()));
  std::vector<std::string> up;
  for (const auto& node : status.at("nodes")) {
    if (node.value("state", "") == "UP") up.push_back(node.at("id").dump());
  }
  return up;
}

[[noreturn]] void run_there(const std::string& node, const std::vector<std::string>& command,
                            int out, int err) {
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::close_range(3, ~0u, 0);
  if (auto there = go_to(node, false); !there) ::_exit(fail("onall", node, there.error()));
  ::_exit(become("onall", command));
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno != EINTR) return;
    if (put > 0) text.remove_prefix(static_cast<std::size_t>(put));
  }
}

// Until all of them are at their end.
void pass_on(std::vector<Output>& outputs) {
  std::vector<char> piece(64 << 10);
  for (std::size_t open = outputs.size(); open > 0;) {
    std::vector<pollfd> polled;
    for (const Output& o : outputs) polled.push_back({o.from ? *o.from : -1, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (polled[i].revents == 0) continue;
      const ssize_t got = ::read(*outputs[i].from, piece.data(), piece.size());
      if (got < 0 && errno == EINTR) continue;
      if (got > 0) {
        write_all(outputs[i].to,
                  outputs[i].lines.add({piece.data(), static_cast<std::size_t>(got)}));
        continue;
      }
      write_all(outputs[i].to, outputs[i].lines.end());
      outputs[i].from.reset();
      --open;
    }
  }
}

int exit_status(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int run_everywhere(const std::vector<std::string>& nodes, const std::vector<std::string>& command) {
  std::vector<Output> outputs;
  std::vector<pid_t> children;
  int worst = 0;
  for (const std::string& node : nodes) {
    int out[2], err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) {
      return fail("onall", "pipe", Error::from_errno("make"));
    }
    const pid_t child = ::fork();
    if (child < 0) return fail("onall", "fork", Error::from_errno("start a process"));
    if (child == 0) run_there(node, command, out[1], err[1]);
    ::close(out[1]);
    ::close(err[1]);
    outputs.push_back({UniqueFd(out[0]), STDOUT_FILENO, LinePrefixer(node + ": ")});
    outputs.push_back({UniqueFd(err[0]), STDERR_FILENO, LinePrefixer(node + ": ")});
    children.push_back(child);
  }
  pass_on(outputs);
  for (const pid_t child : children) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    worst = std::max(worst, exit_status(status));
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> command(argv + 1, argv + argc);
  CLI::App app(
      "Runs CMD on every node that is up. Each line is printed with the number of its node; the\n"
      "exit status is the worst of all. CMD's standard input is empty.",
      "onall");
  std::string first;
  app.add_option("CMD", first, "what to run, and what it is given")->required();
  if (command.empty() || command[0] == "-h" || command[0] == "--help") {
    return parse_arguments(app, argc, argv).value_or(0);
  }
  if (command[0] == "--") command.erase(command.begin());
  if (command.empty() || command[0].starts_with("-")) {
    return fail("onall", "usage", Error(ErrorCode::kUsage, "CMD is missing (see --help)"));
  }
  const auto nodes = nodes_up();
  if (!nodes) return fail("onall", "", nodes.error());
  return run_everywhere(*nodes, command);
}
