#include "migrate/check/waiting.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <thread>

#include "migrate/check/fd_facts.h"

namespace ssi::check {
namespace {

constexpr unsigned long kTcpSynRecv = 0x03;
constexpr auto kQuietTimeout = std::chrono::milliseconds(300);
constexpr auto kQuietPause = std::chrono::milliseconds(2);

unsigned long hex_after_colon(const std::string& field) {
  const std::size_t colon = field.find(':');
  return colon == std::string::npos ? 0 : std::strtoul(field.c_str() + colon + 1, nullptr, 16);
}

}  // namespace

bool anybody_waits_in(const std::string& list, const Doors& doors) {
  std::istringstream lines(list);
  std::string line;
  std::getline(lines, line);  // headings
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    if (!(fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
          timeout >> inode)) {
      continue;
    }
    const bool door = doors.inodes.contains(std::strtoull(inode.c_str(), nullptr, 10));
    if (door && hex_after_colon(queues) > 0) return true;
    if (std::strtoul(state.c_str(), nullptr, 16) == kTcpSynRecv &&
        doors.ports.contains(static_cast<unsigned>(hex_after_colon(local)))) {
      return true;
    }
  }
  return false;
}

namespace {

bool is_door(const FdFact& fd) {
  return fd.socket && (fd.listening || fd.socket->protocol != net::Protocol::kTcp);
}

Result<std::vector<FdFact>> door_fds_of(const std::vector<pid_t>& pids) {
  std::vector<FdFact> found;
  for (const pid_t pid : pids) {
    auto fds = [&]() -> Result<std::vector<FdFact>> {
      SSI_ASSIGN(const ProcDir proc, ProcDir::open(pid));
      return read_fds(proc);
    }();
    // One of several may have ended since they were looked at.
    if (!fds && fds.error().code() == ErrorCode::kGone && pid != pids.front()) continue;
    if (!fds) return std::move(fds).error();
    std::ranges::copy_if(*fds, std::back_inserter(found), is_door);
  }
  return found;
}

}  // namespace

Result<std::vector<net::MovedSocket>> doors_of(const std::vector<pid_t>& pids) {
  SSI_ASSIGN(const auto fds, door_fds_of(pids));
  std::set<net::MovedSocket> doors;
  for (const FdFact& fd : fds) doors.insert(*fd.socket);
  return std::vector<net::MovedSocket>(doors.begin(), doors.end());
}

Result<bool> anybody_waits_at(const std::vector<pid_t>& pids) {
  Doors doors;
  SSI_ASSIGN(const auto fds, door_fds_of(pids));
  for (const FdFact& fd : fds) {
    if (fd.listening) doors.ports.insert(fd.socket->local.port);
    doors.inodes.insert(fd.inode);
  }
  if (doors.inodes.empty()) return false;
  SSI_ASSIGN(const ProcDir proc, ProcDir::open(pids.front()));
  for (const char* file : {"net/tcp", "net/udp"}) {
    SSI_ASSIGN(const std::string list, proc.read(file));
    if (anybody_waits_in(list, doors)) return true;
  }
  // Of what a kernel does not have there is no list.
  for (const char* file : {"net/tcp6", "net/udp6", "net/udplite", "net/udplite6"}) {
    const auto list = proc.read(file);
    if (list && anybody_waits_in(*list, doors)) return true;
  }
  return false;
}

Result<> await_quiet(const std::vector<pid_t>& pids) {
  const auto deadline = std::chrono::steady_clock::now() + kQuietTimeout;
  for (;;) {
    SSI_ASSIGN(const bool waits, anybody_waits_at(pids));
    if (!waits) return {};
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(ErrorCode::kBusy, "it does not take the connections or datagrams that wait");
    }
    std::this_thread::sleep_for(kQuietPause);
  }
}

}  // namespace ssi::check
