#include "ssid/daemon/move_planner.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <random>
#include <set>

#include "migrate/check/check.h"
#include "migrate/check/read_facts.h"
#include "ssid/base/own_programs.h"
#include "ssid/base/process_handle.h"

namespace ssi {
namespace {

using check::FdFact;
using check::FdKind;
using migrate::StreamRef;

Result<check::ProcessFacts> movable_facts(pid_t pid, bool is_guest) {
  SSI_ASSIGN(auto facts, check::read_facts(pid));
  if (is_own_program(facts.exe)) return Error(ErrorCode::kRefused, "it is a part of ssid itself");
  check::CheckContext context;
  context.is_guest = is_guest;
  context.own_processes = {::getpid()};
  if (auto refusal = check::check(facts, context)) {
    std::string all;
    for (const std::string& reason : refusal->reasons) all += (all.empty() ? "" : "; ") + reason;
    return Error(ErrorCode::kRefused, all);
  }
  return facts;
}

migrate::MoveTicket ticket_from(const check::ProcessFacts& facts) {
  migrate::MoveTicket t;
  t.start_time = facts.start_time_ticks;
  t.comm = facts.name.comm;
  t.exe = facts.exe;
  t.uid = facts.uid;
  t.rss_bytes = facts.rss_kb * 1024;
  return t;
}

std::uint64_t random_id() {
  std::random_device random;
  return (std::uint64_t{random()} << 32) | random();
}

bool writes(const FdFact& fd) { return (fd.flags & O_ACCMODE) != O_RDONLY; }

// Pipes whose other end is outside: one stream for each pipe, whatever number of descriptors it
// has.
std::map<std::uint64_t, const FdFact*> outer_pipes(const check::ProcessFacts& facts) {
  std::map<std::uint64_t, const FdFact*> pipes;
  for (const FdFact& fd : facts.fds) {
    if (fd.kind == FdKind::kPipe && !fd.other_end_inside) pipes.emplace(fd.inode, &fd);
  }
  return pipes;
}

std::set<std::uint64_t> inodes(const std::map<std::uint64_t, const FdFact*>& pipes) {
  std::set<std::uint64_t> all;
  for (const auto& [inode, fd] : pipes) all.insert(inode);
  return all;
}

// Of the frozen process: it may have changed while its memory was sent ahead.
Result<> check_again(pid_t pid, bool is_guest, const std::set<std::uint64_t>& pipes) {
  SSI_ASSIGN(const auto facts, movable_facts(pid, is_guest));
  if (inodes(outer_pipes(facts)) == pipes) return {};
  return Error(ErrorCode::kRefused, "it has just opened or closed a pipe");
}

std::string pipe_key(std::uint64_t inode) { return "pipe:[" + std::to_string(inode) + "]"; }

}  // namespace

Result<PreparedMove> prepare_original(NodeId self, pid_t pid, NodeId to, Epoch epoch) {
  SSI_ASSIGN(const auto process, ProcessHandle::open(pid));
  SSI_ASSIGN(const auto facts, movable_facts(pid, false));
  PreparedMove prepared;
  prepared.ticket = ticket_from(facts);
  prepared.ticket.pid = {self, pid};
  prepared.ticket.from = self;
  prepared.ticket.to = to;
  prepared.ticket.epoch = epoch;
  prepared.source.host_pid = pid;
  for (const auto& [inode, fd] : outer_pipes(facts)) {
    UniqueFd held(static_cast<int>(::syscall(SYS_pidfd_getfd, process.pidfd(), fd->number, 0)));
    if (!held) return Error::from_errno("take descriptor " + std::to_string(fd->number));
    const int capacity = ::fcntl(*held, F_GETPIPE_SZ);
    StreamRef stream{.id = random_id(),
                     .key = pipe_key(inode),
                     .write_end = writes(*fd),
                     .capacity = static_cast<std::uint32_t>(capacity > 0 ? capacity : 65536),
                     .on_demand = !writes(*fd) && fd->read_by_others};
    prepared.source.streams.push_back(stream);
    prepared.source.to_export.emplace_back(stream, *held);
    prepared.held.push_back(std::move(held));
  }
  if (!process.alive()) return Error(ErrorCode::kGone, "no such process");
  prepared.source.check_again = [pid, pipes = inodes(outer_pipes(facts))] {
    return check_again(pid, false, pipes);
  };
  return prepared;
}

Result<PreparedMove> prepare_guest(const GuestRecord& record, pid_t host_pid, NodeId to,
                                   const std::string& realm_socket) {
  SSI_ASSIGN(const auto facts, movable_facts(host_pid, true));
  PreparedMove prepared;
  prepared.ticket = record.ticket;
  prepared.ticket.rss_bytes = facts.rss_kb * 1024;
  prepared.ticket.comm = facts.name.comm;
  prepared.ticket.exe = facts.exe;
  prepared.ticket.from = record.ticket.to;
  prepared.ticket.to = to;
  prepared.ticket.epoch = record.ticket.epoch.next();
  prepared.source.host_pid = host_pid;
  prepared.source.guest = record.name();
  prepared.source.realm_socket = realm_socket;
  // The local pipes that its carrier gave it: their order is the record's, their names are new
  // ones.
  const auto pipes = outer_pipes(facts);
  for (const StreamRef& known : record.streams) {
    if (!pipes.contains(known.local_inode)) continue;  // it has closed that one
    StreamRef stream = known;
    stream.key = pipe_key(known.local_inode);
    prepared.source.streams.push_back(stream);
  }
  if (prepared.source.streams.size() != pipes.size()) {
    return Error(ErrorCode::kRefused,
                 "it has a pipe to a process that stays (made where it runs now)");
  }
  prepared.source.check_again = [host_pid, known = inodes(pipes)] {
    return check_again(host_pid, true, known);
  };
  return prepared;
}

}  // namespace ssi
