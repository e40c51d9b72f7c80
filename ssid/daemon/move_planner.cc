#include "ssid/daemon/move_planner.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <span>
#include <thread>

#include "migrate/check/files_to_hold.h"
#include "migrate/check/pty_facts.h"
#include "migrate/check/read_facts.h"
#include "migrate/check/tree.h"
#include "migrate/check/waiting.h"
#include "migrate/fds/duplex_fifo.h"
#include "migrate/fds/unix_socket_state.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/process_handle.h"
#include "ssid/daemon/outer_ends.h"

namespace ssi {
namespace {

using check::FdFact;
using check::FdKind;
using migrate::StreamRef;

constexpr std::chrono::milliseconds kGoneWithin{100};
constexpr const char* kMadeThere =
    "it has a pipe or socket to a process that stays (made where it runs now)";

std::uint64_t rss_bytes(const check::Tree& tree) {
  std::uint64_t kb = 0;
  for (const check::ProcessFacts& facts : tree) kb += facts.rss_kb;
  return kb * 1024;
}

migrate::MoveTicket ticket_from(const check::Tree& tree) {
  const check::ProcessFacts& first = tree.front();
  migrate::MoveTicket t;
  t.start_time = first.start_time_ticks;
  t.comm = first.name.comm;
  t.exe = first.exe;
  t.uid = first.uid;
  t.parent = first.parent;
  t.rss_bytes = rss_bytes(tree);
  t.processes = static_cast<std::uint32_t>(tree.size());
  for (const check::ProcessFacts& facts : std::span(tree).subspan(1)) {
    t.members.push_back(
        {facts.name.pid, facts.start_time_ticks, facts.name.comm, facts.exe, facts.uid});
  }
  return t;
}

std::vector<pid_t> below_the_first(const check::Tree& tree) {
  std::vector<pid_t> pids;
  for (const check::ProcessFacts& facts : std::span(tree).subspan(1)) {
    pids.push_back(facts.name.pid);
  }
  return pids;
}

bool has_system_v_memory(const check::Tree& tree) {
  return std::ranges::any_of(tree, &check::ProcessFacts::has_system_v_memory);
}

std::vector<net::MovedSocket> sockets_of(const check::Tree& tree) {
  std::set<net::MovedSocket> all;
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (fd.socket) all.insert(*fd.socket);
    }
  }
  return {all.begin(), all.end()};
}

// Each once.
std::vector<migrate::OpenConnection> connections_of(const check::Tree& tree) {
  std::map<std::uint64_t, migrate::OpenConnection> all;
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      const bool connected = fd.socket && fd.socket->remote && !fd.in_flight;
      if (!connected || fd.socket->protocol != net::Protocol::kTcp) continue;
      all.try_emplace(fd.inode, migrate::OpenConnection{facts.name.pid, fd.number});
    }
  }
  std::vector<migrate::OpenConnection> connections;
  for (const auto& [inode, connection] : all) connections.push_back(connection);
  return connections;
}

// Whom new clients, or datagrams, may come to.
std::vector<net::MovedSocket> doors_of(const check::Tree& tree) {
  std::vector<net::MovedSocket> doors;
  for (const net::MovedSocket& s : sockets_of(tree)) {
    if (!s.remote || s.protocol != net::Protocol::kTcp) doors.push_back(s);
  }
  return doors;
}

void add_network(migrate::MoveSource& source, const check::Tree& tree) {
  source.has_sockets = !sockets_of(tree).empty();
  source.doors = doors_of(tree);
  std::vector<pid_t> pids{source.host_pid};
  pids.insert(pids.end(), source.below.begin(), source.below.end());
  source.await_quiet = [pids] { return check::await_quiet(pids); };
}

Result<> add_files(migrate::MoveSource& source, const check::Tree& tree, bool to_home) {
  SSI_ASSIGN(const auto files, check::files_to_hold(tree, to_home));
  source.holds_files = !files.empty();
  return {};
}

struct What {
  pid_t pid = 0;
  Below below = Below::kStays;
  bool is_guest = false;
  std::set<pid_t> known_at_home{};  // of those below a guest, in this node's /proc
  bool to_home = false;
  bool from_home = false;
};

// What must not change between the first look and the freeze: the memory was sent ahead, others
// were told. But connections over unix sockets may come and go, and so may what a guest has started
// and home does not know.
struct Look {
  std::vector<pid_t> below;
  std::set<std::string> ends;

  bool same_processes(const Look& now, const std::set<pid_t>& known_at_home, bool is_guest) const {
    // One alone is moved in another way than several.
    if (!is_guest || below.empty()) return now.below == below;
    const auto left_out = [&](pid_t pid) {
      return known_at_home.contains(pid) && std::ranges::find(now.below, pid) == now.below.end();
    };
    return std::ranges::none_of(below, left_out);
  }
};
// Of connections: those that it has accepted where it runs, and those that came along.
std::set<std::string> keys_of_clients(const std::vector<StreamRef>& streams) {
  std::set<std::string> clients;
  for (const StreamRef& s : streams) {
    if (s.socket != 0) clients.insert(s.key);
  }
  return clients;
}

Look look_of(const check::Tree& tree) {
  Look look{below_the_first(tree), keys(tree)};
  for (const std::string& key : keys_of_connections(tree)) look.ends.erase(key);
  return look;
}

Result<> check_listeners(const check::Tree& tree, const What& what) {
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (!fd.waits_inside || fd.named_at.empty() || !what.is_guest) continue;
      if (!what.to_home && !what.from_home) continue;  // criu connects it anew
      return Error(ErrorCode::kBusy,
                   "one of its own connections was not accepted yet by its socket " + fd.details);
    }
  }
  return {};
}

// At home criu would have to move aside, for all to see, what has their names now.
Result<> check_former_names(const check::Tree& tree) {
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (fd.former_path.empty()) continue;
      const std::string name = "/proc/" + std::to_string(facts.name.pid) + "/root" + fd.former_path;
      struct stat st {};
      if (::lstat(name.c_str(), &st) != 0) continue;
      return Error(ErrorCode::kRefused, "fd " + std::to_string(fd.number) + " is a unix socket (" +
                                            fd.details +
                                            ") whose name was given to something else, so it "
                                            "can't come home");
    }
  }
  return {};
}

std::set<std::string> deleted_sockets_of(const check::Tree& tree) {
  std::set<std::string> keys;
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (!fd.former_path.empty()) keys.insert(fd.key);
    }
  }
  return keys;
}

std::map<std::string, std::string> renamed_sockets_of(const check::Tree& tree) {
  std::map<std::string, std::string> paths;
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (!fd.renamed_to.empty()) paths[fd.key] = fd.renamed_to;
    }
  }
  return paths;
}

// That have come since the offer.
Result<> add_connections(migrate::FrozenFacts& facts, const check::Tree& tree,
                         const std::set<std::string>& known) {
  const auto ends = outer_ends(tree);
  for (const std::string& key : keys_of_connections(tree)) {
    if (known.contains(key)) continue;
    const OuterEnd& end = ends.at(key);
    SSI_ASSIGN(UniqueFd held, taken(end));
    for (StreamRef& stream : streams_of(*end.fd, *held))
      facts.to_export.emplace_back(stream, *held);
    facts.held.push_back(std::move(held));
  }
  return {};
}

// In its sockets for datagrams that others reach by name.
Result<std::map<std::uint64_t, std::uint32_t>> datagrams_that_wait(
    const check::Tree& tree, const std::vector<StreamRef>& streams) {
  std::map<std::uint64_t, std::uint32_t> waiting;
  const auto ends = outer_ends(tree);
  for (const StreamRef& s : streams) {
    const auto end = ends.find(s.key);
    if (!s.takes_datagrams() || end == ends.end()) continue;
    SSI_ASSIGN(const UniqueFd socket, taken(end->second));
    waiting[s.id] = fds::count_datagrams(*socket);
  }
  return waiting;
}

// What speaks against it only now, it has begun since it was looked at: another time may be better.
Result<check::Tree> movable_still(const What& what) {
  auto tree = movable(what.pid, what.below, what.is_guest);
  if (!tree && tree.error().code() == ErrorCode::kRefused) {
    return Error(ErrorCode::kBusy, tree.error().message());
  }
  return tree;
}

// The carrier may not have let go yet of the connection of a client that has just gone.
Result<check::Tree> frozen_tree(const What& what, const std::set<std::string>& clients) {
  const auto until = std::chrono::steady_clock::now() + kGoneWithin;
  for (;;) {
    SSI_ASSIGN(auto tree, movable_still(what));
    const bool known = std::ranges::includes(clients, keys_of_connections(tree));
    if (!what.is_guest || what.from_home || known || std::chrono::steady_clock::now() > until)
      return tree;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Result<migrate::FrozenFacts> check_again(const What& what, const Look& before,
                                         const std::vector<StreamRef>& streams,
                                         const std::vector<StreamRef>& accepted) {
  auto clients = keys_of_clients(accepted);
  clients.merge(keys_of_clients(streams));
  SSI_ASSIGN(const auto tree, frozen_tree(what, clients));
  SSI_TRY(check_listeners(tree, what));
  const Look now = look_of(tree);
  if (!before.same_processes(now, what.known_at_home, what.is_guest)) {
    return Error(ErrorCode::kBusy, "a process has just begun or ended below it");
  }
  if (now.ends != before.ends) {
    return Error(ErrorCode::kBusy, "it has just opened or closed a pipe, terminal or socket");
  }
  SSI_ASSIGN(auto files, check::files_to_hold(tree, what.to_home));
  migrate::FrozenFacts facts{sockets_of(tree), connections_of(tree), std::move(files),
                             check::ptys_to_move(tree)};
  facts.deleted_sockets = deleted_sockets_of(tree);
  facts.renamed_sockets = renamed_sockets_of(tree);
  facts.below = now.below;
  const auto ends = keys(tree);
  for (const StreamRef& s : accepted) {
    if (ends.contains(s.key)) facts.accepted.push_back(s);
  }
  if (what.to_home) {
    SSI_ASSIGN(facts.datagrams, datagrams_that_wait(tree, streams));
  }
  if (!what.is_guest || what.from_home) {
    SSI_TRY(add_connections(facts, tree, clients));
    if (!facts.to_export.empty() && streams.empty()) {
      return Error(ErrorCode::kBusy, "it has just opened a socket");
    }
    return facts;
  }
  if (!std::ranges::includes(clients, keys_of_connections(tree))) {
    return Error(ErrorCode::kBusy, kMadeThere);  // it was not there before
  }
  return facts;
}

// Nothing that the guest left behind here (whose parent has ended) may be in its cgroup: it would
// be destroyed with this copy.
Result<> check_nobody_left(const std::vector<pid_t>& here, const check::Tree& tree) {
  for (const pid_t pid : here) {
    if (std::ranges::any_of(tree, [&](const auto& facts) { return facts.name.pid == pid; })) {
      continue;
    }
    const auto facts = check::read_facts(pid);
    if (!facts || facts->state == 'Z') continue;
    return Error(ErrorCode::kRefused, "process " + std::to_string(innermost_pid(pid)) + " (" +
                                          facts->name.comm +
                                          ") was started by it and is not below it any more");
  }
  return {};
}

}  // namespace

Result<PreparedMove> prepare_original(NodeId self, pid_t pid, NodeId to, Epoch epoch, Below below) {
  const auto process = ProcessHandle::open(pid);
  if (!process) return std::move(process).error();
  SSI_ASSIGN(const auto tree, movable(pid, below, false));
  if (tree.size() > 1) below = Below::kMovesAlong;
  PreparedMove prepared;
  prepared.ticket = ticket_from(tree);
  prepared.ticket.pid = {self, pid};
  prepared.ticket.from = self;
  prepared.ticket.to = to;
  prepared.ticket.epoch = epoch;
  prepared.source.host_pid = pid;
  prepared.source.below = below_the_first(tree);
  prepared.source.has_system_v_memory = has_system_v_memory(tree);
  add_network(prepared.source, tree);
  SSI_TRY(add_files(prepared.source, tree, false));
  for (const auto& [key, end] : outer_ends(tree)) {
    SSI_ASSIGN(UniqueFd held, taken(end));
    for (StreamRef& stream : streams_of(*end.fd, *held)) {
      stream.also_key = also_key(tree, key);
      if (stream.is_named()) stream.pid = end.holder;
      prepared.source.streams.push_back(stream);
      prepared.source.to_export.emplace_back(stream, *held);
    }
    prepared.held.push_back(std::move(held));
  }
  if (!process->alive()) return Error(ErrorCode::kGone, "no such process");
  prepared.source.check_again = [what = What{.pid = pid, .below = below}, before = look_of(tree),
                                 offered = prepared.source.streams](const auto& accepted) {
    return check_again(what, before, offered, accepted);
  };
  return prepared;
}

namespace {

// One that listens: home's carrier keeps it from now on (again).
Result<> add_listener(PreparedMove& prepared, const StreamRef& listener, const OuterEnd& end) {
  SSI_ASSIGN(UniqueFd held, taken(end));
  prepared.source.to_export.emplace_back(listener, *held);
  prepared.held.push_back(std::move(held));
  return {};
}

// What a guest listens on now, and which of it was made since it came here.
Result<> add_listeners(PreparedMove& prepared, const OuterEnds& ends, const What& what,
                       const std::set<std::string>& known) {
  for (StreamRef& s : prepared.source.streams) {
    if (!s.is_named()) continue;
    const OuterEnd& end = ends.at(s.key);
    s.pid = innermost_pid(end.holder);
    s.number = end.fd->number;
    if (what.from_home) SSI_TRY(add_listener(prepared, s, end));
    if (what.to_home && s.takes_datagrams() && end.fd->has_own_clients) {
      return Error(ErrorCode::kRefused,
                   "fd " + std::to_string(end.fd->number) + " is a unix socket (" +
                       end.fd->details +
                       ") with which it is connected itself, by datagrams: that can't come home");
    }
  }
  for (const auto& [key, end] : ends) {
    if (end.fd->named_at.empty() || known.contains(key)) continue;
    if (!what.from_home) {
      return Error(ErrorCode::kRefused, "fd " + std::to_string(end.fd->number) +
                                            " is a unix socket (" + end.fd->details +
                                            ") that it has made where it runs now: others find "
                                            "its name, and nobody there, at home");
    }
    StreamRef made{.id = random_id(), .key = key, .address = end.fd->named_at};
    made.socket_type = end.fd->socket_type;
    made.pid = innermost_pid(end.holder);
    made.number = end.fd->number;
    prepared.source.streams.push_back(made);
    SSI_TRY(add_listener(prepared, made, end));
  }
  return {};
}

// In this node's /proc.
std::set<pid_t> members_of(const check::Tree& tree,
                           const std::vector<migrate::UnitMember>& members) {
  std::set<pid_t> pids;
  for (const check::ProcessFacts& facts : tree) {
    const pid_t inside = innermost_pid(facts.name.pid);
    if (std::ranges::find(members, inside, &migrate::UnitMember::pid) != members.end())
      pids.insert(facts.name.pid);
  }
  return pids;
}

// One that goes along needs a deputy that keeps it open at home: those were made when it left
// first.
Result<> check_kept_fifos(const check::Tree& tree, const GuestRecord& record) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> kept;
  for (const SsiPid pid : record.living()) {
    for (const auto& fifo : fds::duplex_fifos(pid.pid)) kept.insert({fifo.device, fifo.inode});
  }
  for (const check::ProcessFacts& facts : tree) {
    for (const check::FdFact& fd : facts.fds) {
      const bool duplex = check::may_read(fd) && check::may_write(fd);
      if (fd.kind != check::FdKind::kFifo || fd.nameless || !duplex) continue;
      if (kept.contains({fd.device, fd.inode})) continue;
      return Error(ErrorCode::kRefused,
                   "fd " + std::to_string(fd.number) + " is a named pipe (" + fd.target +
                       ") for both directions (O_RDWR) that it has opened since it was away");
    }
  }
  return {};
}

}  // namespace

Result<PreparedMove> prepare_guest(const GuestRecord& record, const GuestPids& pids, NodeId to,
                                   const std::string& realm_socket) {
  SSI_ASSIGN(const auto tree, movable(pids.first, Below::kMovesAlong, true));
  SSI_TRY(check_nobody_left(pids.all, tree));
  const check::ProcessFacts& facts = tree.front();
  PreparedMove prepared;
  prepared.ticket = record.ticket;
  prepared.ticket.rss_bytes = rss_bytes(tree);
  prepared.ticket.processes = static_cast<std::uint32_t>(tree.size());
  prepared.ticket.comm = facts.name.comm;
  prepared.ticket.exe = facts.exe;
  prepared.ticket.from = record.ticket.to;
  prepared.ticket.to = to;
  prepared.ticket.epoch = record.ticket.epoch.next();
  // Those that home knows. What a guest has started where it runs moves along as a part of it.
  std::erase_if(prepared.ticket.members, [&](const migrate::UnitMember& m) {
    return std::ranges::none_of(
        tree, [&](const auto& known) { return innermost_pid(known.name.pid) == m.pid; });
  });
  prepared.source.host_pid = pids.first;
  prepared.source.below = below_the_first(tree);
  prepared.source.has_system_v_memory = has_system_v_memory(tree);
  add_network(prepared.source, tree);
  prepared.source.guest = record.name();
  prepared.source.realm_socket = realm_socket;
  // What its carrier gave it: the order is the record's, the names are those of here.
  const auto ends = outer_ends(tree);
  std::set<std::string> found;
  for (const StreamRef& known : record.streams) {
    if (!ends.contains(known.local_key)) {  // it has closed that one
      if (known.listens()) prepared.source.closed_listeners.push_back(known);
      continue;
    }
    StreamRef stream = known;
    stream.key = known.local_key;
    stream.also_key = also_key(tree, stream.key);
    found.insert(stream.key);
    prepared.source.streams.push_back(stream);
  }
  const What what{.pid = pids.first,
                  .below = Below::kMovesAlong,
                  .is_guest = true,
                  .known_at_home = members_of(tree, prepared.ticket.members),
                  .to_home = to == prepared.ticket.pid.home,
                  .from_home = record.ticket.to == prepared.ticket.pid.home};
  SSI_TRY(check_listeners(tree, what));
  if (what.from_home) SSI_TRY(check_kept_fifos(tree, record));
  if (what.to_home) SSI_TRY(check_former_names(tree));
  SSI_TRY(add_listeners(prepared, ends, what, found));
  const bool listens = std::ranges::any_of(record.streams, &StreamRef::listens);
  // Those who come by them are known when it stands still.
  if (listens) found.merge(keys_of_connections(tree));
  // The other end of one that nobody has is no process that stays.
  const bool others = std::ranges::any_of(ends, [&](const auto& end) {
    return !found.contains(end.first) && end.second.fd->named_at.empty() &&
           (end.second.fd->kind != FdKind::kPipe || !end.second.fd->holders.empty());
  });
  if (others) return Error(ErrorCode::kRefused, kMadeThere);
  SSI_TRY(add_files(prepared.source, tree, what.to_home));
  prepared.source.check_again = [what, before = look_of(tree),
                                 known = prepared.source.streams](const auto& now) {
    return check_again(what, before, known, now);
  };
  return prepared;
}

}  // namespace ssi
