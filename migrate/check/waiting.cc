#include "migrate/check/waiting.h"

#include <cstdlib>
#include <sstream>

#include "migrate/check/fd_facts.h"

namespace ssi::check {
namespace {

constexpr unsigned long kTcpSynRecv = 0x03;

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

Result<> add_doors(pid_t pid, Doors& doors) {
  SSI_ASSIGN(const ProcDir proc, ProcDir::open(pid));
  SSI_ASSIGN(const auto fds, read_fds(proc));
  for (const FdFact& fd : fds) {
    if (!fd.socket) continue;
    if (fd.listening) doors.ports.insert(fd.socket->local.port);
    if (fd.listening || fd.socket->protocol != net::Protocol::kTcp) doors.inodes.insert(fd.inode);
  }
  return {};
}

}  // namespace

Result<bool> anybody_waits_at(const std::vector<pid_t>& pids) {
  Doors doors;
  for (const pid_t pid : pids) {
    auto added = add_doors(pid, doors);
    // One of several may have ended since they were looked at.
    const bool ended = !added && added.error().code() == ErrorCode::kGone && pid != pids.front();
    if (!ended) SSI_TRY(std::move(added));
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

}  // namespace ssi::check
