#include "ssid/cluster/contract/corosync_world.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>

#include "ssid/cluster/contract/corosync_worker.h"

namespace ssi {
namespace {

std::uint64_t now_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(
      duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

std::vector<NodeId> read_list(std::istringstream& in) {
  std::vector<NodeId> nodes;
  std::string word;
  in >> word;  // "["
  while (in >> word && word != "]") {
    nodes.push_back(NodeId{static_cast<std::uint32_t>(std::stoul(word))});
  }
  return nodes;
}

Observation read_observation(const std::string& line) {
  std::istringstream in(line);
  std::string kind;
  in >> kind;
  Observation seen;
  if (kind == "view") {
    seen.is_view = true;
    in >> seen.quorate;
    seen.members = read_list(in);
    seen.joined = read_list(in);
    seen.left = read_list(in);
  } else {
    in >> seen.from.value >> seen.seq >> seen.size >> seen.intact >> seen.sender_in_view;
  }
  return seen;
}

}  // namespace

CorosyncWorld::CorosyncWorld(CorosyncWorldOptions options) : options_(std::move(options)) {
  for (const auto& [node, pid] : options_.nodes) workers_[node];
}

CorosyncWorld::~CorosyncWorld() {
  for (auto& [node, worker] : workers_) kill(node);
}

std::vector<NodeId> CorosyncWorld::nodes() const {
  std::vector<NodeId> all;
  for (const auto& [node, pid] : options_.nodes) all.push_back(node);
  return all;
}

void CorosyncWorld::start(NodeId node) {
  Worker& worker = workers_.at(node);
  REQUIRE(worker.pid < 0);
  worker = Worker{};
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  worker.pid = ::fork();
  REQUIRE(worker.pid >= 0);
  if (worker.pid == 0) {
    for (auto& [other, other_worker] : workers_) other_worker.socket.reset();
    ::close(pair[0]);
    run_corosync_worker(options_.nodes.at(node), pair[1]);
  }
  ::close(pair[1]);
  worker.socket.reset(pair[0]);
}

void CorosyncWorld::kill(NodeId node) {
  Worker& worker = workers_.at(node);
  if (worker.pid < 0) return;
  if (::send(*worker.socket, "die", 3, MSG_NOSIGNAL) < 0) ::kill(worker.pid, SIGKILL);
  ::waitpid(worker.pid, nullptr, 0);
  worker.pid = -1;
  worker.socket.reset();
}

void CorosyncWorld::read_worker(Worker& worker) {
  char line[4096];
  ssize_t size = 0;
  while ((size = ::recv(*worker.socket, line, sizeof line, MSG_DONTWAIT)) > 0) {
    const std::string text(line, static_cast<std::size_t>(size));
    if (text.starts_with("= ")) {
      worker.answer = text.substr(2);
    } else {
      worker.log.push_back(read_observation(text));
    }
  }
}

void CorosyncWorld::read_all(int timeout_ms) {
  std::vector<pollfd> fds;
  for (const auto& [node, worker] : workers_) {
    if (worker.pid >= 0) fds.push_back({.fd = *worker.socket, .events = POLLIN, .revents = 0});
  }
  ::poll(fds.data(), fds.size(), timeout_ms);
  for (auto& [node, worker] : workers_) {
    if (worker.pid >= 0) read_worker(worker);
  }
}

bool CorosyncWorld::wait(const std::function<bool()>& done) {
  const std::uint64_t end = now_ms() + options_.wait_ms;
  while (!done()) {
    if (now_ms() > end) return false;
    read_all(50);
  }
  return true;
}

std::string CorosyncWorld::ask(NodeId node, const std::string& command) {
  Worker& worker = workers_.at(node);
  worker.answer.clear();
  REQUIRE(::send(*worker.socket, command.data(), command.size(), MSG_NOSIGNAL) > 0);
  const std::uint64_t end = now_ms() + options_.wait_ms;
  while (worker.answer.empty() && now_ms() < end) read_all(50);
  REQUIRE(!worker.answer.empty());
  return worker.answer;
}

Result<> CorosyncWorld::send(NodeId node, std::uint64_t seq, std::uint64_t size, Needs needs) {
  std::ostringstream command;
  command << "send " << seq << " " << size << " " << (needs == Needs::kQuorum);
  const std::string answer = ask(node, command.str());
  if (answer == "ok") return {};
  const std::size_t space = answer.find(' ');
  return Error(static_cast<ErrorCode>(std::stoi(answer)), answer.substr(space + 1));
}

ClusterInfo CorosyncWorld::info(NodeId node) {
  std::istringstream in(ask(node, "info"));
  ClusterInfo info;
  in >> info.self.value >> info.may_commit;
  info.up = read_list(in);
  Node one;
  std::size_t count = 0;
  while (in >> one.id.value >> one.name >> count) {
    one.addresses.resize(count);
    for (auto& address : one.addresses) in >> address;
    info.nodes.push_back(one);
  }
  return info;
}

void CorosyncWorld::run_hook(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{options_.hook};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::execvp(argv[0], argv.data());
    std::_Exit(127);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CAPTURE(arguments[0]);
  REQUIRE(status == 0);
}

void CorosyncWorld::cut(const std::vector<std::set<NodeId>>& sides) {
  std::string text;
  for (const auto& side : sides) {
    if (!text.empty()) text += ":";
    std::string members;
    for (const NodeId node : side)
      members += (members.empty() ? "" : ",") + std::to_string(node.value);
    text += members;
  }
  run_hook({"cut", text});
}

void CorosyncWorld::heal() { run_hook({"heal"}); }

void CorosyncWorld::restart_corosync(NodeId node) {
  run_hook({"restart", std::to_string(node.value)});
}

}  // namespace ssi
