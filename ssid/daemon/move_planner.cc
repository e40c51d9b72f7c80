#include "ssid/daemon/move_planner.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "loadlevel/policy/words.h"
#include "migrate/check/check.h"
#include "migrate/check/read_facts.h"
#include "ssid/base/process_handle.h"

namespace ssi {
namespace {

using check::FdFact;
using check::FdKind;
using migrate::StreamRef;

Result<check::ProcessFacts> movable_facts(pid_t pid, bool is_guest) {
  SSI_ASSIGN(auto facts, check::read_facts(pid));
  check::CheckContext context;
  context.is_guest = is_guest;
  if (auto refusal = check::check(facts, context)) {
    return Error(ErrorCode::kRefused, reasons_words(refusal->reasons));
  }
  return facts;
}

migrate::MoveTicket ticket_from(const check::ProcessFacts& facts) {
  migrate::MoveTicket t;
  t.start_time = facts.start_time_ticks;
  t.comm = facts.name.comm;
  t.exe = facts.exe;
  t.uid = facts.uid;
  t.parent = facts.parent;
  t.rss_bytes = facts.rss_kb * 1024;
  return t;
}

std::uint64_t random_id() {
  std::random_device random;
  return (std::uint64_t{random()} << 32) | random();
}

bool writes(const FdFact& fd) { return (fd.flags & O_ACCMODE) != O_RDONLY; }

// Pipes whose other end is outside, and terminals, by their keys: one whatever number of
// descriptors it has.
using OuterEnds = std::map<std::string, const FdFact*>;
OuterEnds outer_ends(const check::ProcessFacts& facts) {
  OuterEnds ends;
  for (const FdFact& fd : facts.fds) {
    const bool outer =
        fd.kind == FdKind::kTty || (fd.kind == FdKind::kPipe && !fd.other_end_inside);
    if (outer) ends.emplace(fd.key, &fd);
  }
  return ends;
}

// A terminal that is open as /dev/tty, too.
std::string also_key(const check::ProcessFacts& facts, const std::string& key) {
  const auto same = std::ranges::find(facts.fds, key, &FdFact::same_as);
  return same == facts.fds.end() ? "" : same->key;
}

std::set<std::string> keys(const check::ProcessFacts& facts) {
  std::set<std::string> all;
  for (const auto& [key, fd] : outer_ends(facts)) all.merge(std::set{key, also_key(facts, key)});
  return all;
}

// Of the frozen process: it may have changed while its memory was sent ahead.
Result<> check_again(pid_t pid, bool is_guest, const std::set<std::string>& ends) {
  SSI_ASSIGN(const auto facts, movable_facts(pid, is_guest));
  if (keys(facts) == ends) return {};
  return Error(ErrorCode::kRefused, "it has just opened or closed a pipe or terminal");
}

std::vector<StreamRef> streams_of(const FdFact& fd, std::uint32_t capacity) {
  StreamRef stream{.id = random_id(),
                   .key = fd.key,
                   .write_end = writes(fd),
                   .capacity = capacity,
                   .on_demand = !writes(fd) && fd.read_by_others};
  if (fd.kind != FdKind::kTty) return {stream};
  // Others at home read it, or may: nothing is taken from it that the process does not wait for.
  StreamRef input = stream;
  stream.write_end = true;
  stream.on_demand = false;
  input.id = random_id();
  input.write_end = false;
  input.on_demand = true;
  stream.terminal = input.terminal = stream.id;
  return {stream, input};
}

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
  for (const auto& [key, fd] : outer_ends(facts)) {
    UniqueFd held(static_cast<int>(::syscall(SYS_pidfd_getfd, process.pidfd(), fd->number, 0)));
    if (!held) return Error::from_errno("take descriptor " + std::to_string(fd->number));
    const int capacity = ::fcntl(*held, F_GETPIPE_SZ);
    const auto bytes = static_cast<std::uint32_t>(capacity > 0 ? capacity : 65536);
    for (StreamRef& stream : streams_of(*fd, bytes)) {
      stream.also_key = also_key(facts, key);
      prepared.source.streams.push_back(stream);
      prepared.source.to_export.emplace_back(stream, *held);
    }
    prepared.held.push_back(std::move(held));
  }
  if (!process.alive()) return Error(ErrorCode::kGone, "no such process");
  prepared.source.check_again = [pid, ends = keys(facts)] { return check_again(pid, false, ends); };
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
  // What its carrier gave it: the order is the record's, the names are those of here.
  const auto ends = outer_ends(facts);
  std::set<std::string> found;
  for (const StreamRef& known : record.streams) {
    if (!ends.contains(known.local_key)) continue;  // it has closed that one
    StreamRef stream = known;
    stream.key = known.local_key;
    stream.also_key = also_key(facts, stream.key);
    found.insert(stream.key);
    prepared.source.streams.push_back(stream);
  }
  if (found.size() != ends.size()) {
    return Error(ErrorCode::kRefused,
                 "it has a pipe to a process that stays (made where it runs now)");
  }
  prepared.source.check_again = [host_pid, known = keys(facts)] {
    return check_again(host_pid, true, known);
  };
  return prepared;
}

}  // namespace ssi
