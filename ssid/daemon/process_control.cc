#include "ssid/daemon/process_control.h"

#include <signal.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>
#include <thread>

#include "migrate/check/proc_dir.h"
#include "migrate/check/unit_root.h"
#include "migrate/move/frozen_copy.h"
#include "ssid/base/fault.h"
#include "ssid/base/log.h"
#include "ssid/daemon/restless_tree.h"
#include "ssid/wire/carrier/carrier_client.h"

namespace ssi {
namespace asio = boost::asio;
using migrate::CopyName;
using migrate::FreezerCgroup;
using migrate::FrozenCopy;
using migrate::MoveTicket;

namespace {

constexpr Epoch kFirstEpoch{1};   // of an original's first move
constexpr int kKilled = SIGKILL;  // as a wait status: ended by SIGKILL
constexpr std::chrono::milliseconds kFlushBeforeEnd = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kFlushBeforeStop = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kFlushAtAll = std::chrono::minutes(10);

std::string mount_point(const DaemonPaths& paths, NodeId home) {
  return paths.run_dir + "/realms/" + std::to_string(home.value) + "/root";
}

group::Commit commit_of(const MoveTicket& t) {
  group::Commit c;
  c.process = t.pid;
  c.from = t.from;
  c.to = t.to;
  c.epoch = t.epoch;
  c.start_time = t.start_time;
  c.comm = t.comm;
  c.uid = t.uid;
  c.exe = t.exe;
  c.term = t.term;
  for (const migrate::UnitMember& m : t.members) {
    c.members.push_back({m.pid, m.start_time, m.comm, m.uid, m.exe});
  }
  return c;
}

}  // namespace

ProcessControl::ProcessControl(asio::io_context& io, GroupPort& group, migrate::FreezerRoot freezer,
                               std::shared_ptr<const TlsContext> tls, Options options,
                               Handlers handlers)
    : io_(io),
      group_(group),
      freezer_(std::move(freezer)),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      streams_(
          group.self(),
          [this](NodeId node) -> Result<CarrierPeer> {
            return CarrierPeer{node.value, {group_.address_of(node)}, options_.carrier_port};
          },
          [this](NodeId home) { return mount_point(paths_, home); }),
      files_(
          group.self(), [this](NodeId home) { return mount_point(paths_, home); },
          [this](NodeId home) { return realms_.init_pid(home); }),
      home_net_(io, group.self(), paths_.run_dir + "/net",
                [this](NodeId node) { return group_.address_of(node); }),
      realms_(
          group.self(),
          {paths_.run_dir + "/realms", paths_.run_dir + "/criu",
           paths_.program_dir + "/ssid-realm"},
          [this](NodeId home, const std::string& at) -> Result<> {
            SSI_ASSIGN(auto carrier, CarrierClient::connect());
            return carrier.mount_view(
                {{home.value, {group_.address_of(home)}, options_.carrier_port}, at});
          },
          [this](NodeId node) { return group_.name_of(node); },
          [this](NodeId home) { return realm_network(home); },
          [this](NodeId home, const std::string& socket) {
            asio::post(io_, [this, home, socket] { guests_.attach_realm(home, socket); });
          }),
      guests_(io, freezer_, GuestRecords(paths_.run_dir + "/guests"), guest_handlers()),
      stop_reports_(io, stop_handlers()),
      deputies_(io, deputy_handlers()),
      moves_(io, freezer_, streams_, files_, std::move(tls), options_.link_timeouts,
             {paths_.criu, paths_.program_dir + "/" + migrate::kCriuLibrary},
             paths_.run_dir + "/images", migrate::userfaultfd_by(paths_.program_dir + "/ssid-uffd"),
             move_handlers()),
      births_(birth_handlers()),
      home_births_(home_birth_handlers()),
      pipe_demand_(
          io, [this] { return guests_on_demand(); },
          [](const migrate::StreamRef& s, std::uint64_t bytes) {
            if (auto carrier = CarrierClient::connect()) (void)carrier->demand_stream(s.id, bytes);
          }) {}

ProcessControl::~ProcessControl() = default;

NodeId ProcessControl::where(SsiPid pid) const {
  const auto entry = group_.find(pid);
  return entry ? entry->where : pid.home;
}

// Moves

Moves::Handlers ProcessControl::move_handlers() {
  Moves::Handlers h;
  h.send_commit = [this](const MoveTicket& t) { return group_.propose(commit_of(t)); };
  h.send_abandon = [this](const MoveTicket& t, const std::string&) {
    group::Request r;
    r.from = group_.self();
    r.to = t.to;
    r.op = "internal.abandon";
    r.json = CopyName{t.pid, t.epoch}.to_string();
    (void)group_.broadcast(r);
  };
  h.prepare_realm = [this](NodeId home) { return realms_.prepare(home); };
  h.refresh_files = [this](NodeId home) -> Result<> {
    if (home == group_.self()) return {};
    SSI_ASSIGN(auto carrier, CarrierClient::connect());
    return carrier.refresh_view(mount_point(paths_, home));
  };
  h.open_root = [this](NodeId home) -> Result<UniqueFd> {
    const std::string path = home == group_.self() ? "/" : mount_point(paths_, home);
    UniqueFd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) return Error::from_errno("open " + path);
    return root;
  };
  h.tell_watchers = [this](NodeId home, pid_t process) -> Result<> {
    SSI_ASSIGN(auto carrier, CarrierClient::connect());
    return carrier.tell_watchers({mount_point(paths_, home), process});
  };
  h.rebuild_sockets = [this](NodeId home, const std::string& cgroup, bool on) -> Result<> {
    SSI_ASSIGN(auto carrier, CarrierClient::connect());
    return carrier.rebuild_sockets({mount_point(paths_, home), cgroup, on});
  };
  h.quiet_network = [this](const MoveTicket& t, const std::vector<net::MovedSocket>& doors) {
    return hold_network(t, doors, true);
  };
  h.hold_network = [this](const MoveTicket& t, const std::vector<net::MovedSocket>& sockets) {
    return hold_network(t, sockets, false);
  };
  h.release_network = [this](const MoveTicket& t) { release_network(t); };
  h.remember = [this](const MoveTicket& t, const std::vector<migrate::StreamRef>& streams) {
    return guests_.records().save({.ticket = t, .streams = streams});
  };
  h.forget = [this](const MoveTicket& t) { guests_.records().remove({t.pid, t.epoch}); };
  h.may_still_come = [this](const MoveTicket& t) {
    return group_.table_valid() && group_.term() == t.term;
  };
  h.stand_down = [this](const MoveTicket& t, const migrate::Carried& carried) {
    stand_down(t, carried);
  };
  h.arrived = [](const MoveTicket& t) { log_info("{}: runs here", t.to_string()); };
  h.refuse = [this](const MoveTicket& t) -> std::optional<std::string> {
    if (!group_.view().quorate) return "the cluster has no quorum there";
    if (!group_.table_valid() || group_.term() != t.term) {
      return "the cluster has just changed; try again";
    }
    if (moves_.coming_in() >= options_.moves_in_max) {
      return std::to_string(moves_.coming_in()) + " processes are on their way to it";
    }
    return handlers_.refuse_arrival(t);
  };
  h.failed_to_arrive = [this](const MoveTicket& t) {
    handlers_.arrival_failed(t.pid);
    if (const auto opened = opened_.extract(t.pid)) taken_fifos_->look_again(opened.mapped());
  };
  return h;
}

ProcessControl::Mover ProcessControl::mover_of(SsiPid pid, const Wish& wish) const {
  Mover mover{.pid = pid, .below = wish.tree ? Below::kMovesAlong : Below::kStays};
  mover.term = group_.term();
  const GuestRecord* record = guests_.find_with(pid);
  if (record == nullptr && pid.home == group_.self()) {
    mover.pid.pid = check::unit_root(pid.pid, [&](pid_t) { return wish.of_root; });
  }
  if (record == nullptr) return mover;
  mover.pid = record->ticket.pid;
  mover.record = *record;
  mover.pids = {guests_.host_pid(*record).value_or(0), guests_.host_pids(*record)};
  return mover;
}

Result<PreparedMove> ProcessControl::look(const Mover& mover, NodeId to) const {
  if (!mover.record) {
    return prepare_original(group_.self(), mover.pid.pid, to, kFirstEpoch, mover.below);
  }
  if (mover.pids.first != 0) {
    return prepare_guest(*mover.record, mover.pids, to, realms_.socket_path(mover.pid.home));
  }
  if (mover.record->living().empty() || !mover.record->over.contains(mover.pid.pid)) {
    return Error(ErrorCode::kGone, "it has just ended");
  }
  return Error(ErrorCode::kRefused, "process " + std::to_string(mover.pid.pid) +
                                        ", with which its tree began, has ended");
}

Result<PreparedMove> ProcessControl::prepare(const Mover& mover, NodeId to, bool again) {
  Mover now = mover;
  TreeToMove tree;
  tree.look = [&] { return look(now, to); };
  MoveTicket ticket;  // as far as the network asks
  ticket.pid = mover.pid;
  ticket.from = group_.self();
  ticket.to = to;
  ticket.term = mover.term;
  tree.let_go = [this, ticket] { release_network(ticket); };
  const auto hold_quietly = [&](const auto& hold) -> Result<FrozenCopy> {
    SSI_TRY(quiet_tree(ticket, tree.first));
    auto copy = hold();
    if (!copy) tree.let_go();
    return copy;
  };
  if (!mover.record) {
    tree.first = mover.pid.pid;
    if (mover.below == Below::kStays && !check::shares_memory_below(tree.first)) return tree.look();
    const auto who = [&]() -> Result<std::set<pid_t>> {
      auto pids = check::pids_of_tree(tree.first);
      SSI_TRY(claims_.claim(mover.pid, pids));
      return pids;
    };
    const CopyName name{mover.pid, kFirstEpoch};
    tree.hold = [&] {
      return hold_quietly([&] { return FrozenCopy::freeze_tree(freezer_, name, tree.first, who); });
    };
    return prepare_tree(tree, again);
  }
  if (mover.pids.first == 0) return tree.look();
  tree.first = mover.pids.first;
  const auto hold = [&]() -> Result<FrozenCopy> {
    SSI_ASSIGN(auto copy, FrozenCopy::hold_guest(freezer_, mover.record->name()));
    auto frozen = copy.freeze();
    auto inside = copy.cgroup().pids();
    if (frozen && inside) {
      now.pids.all = std::move(*inside);
      return copy;
    }
    (void)copy.thaw();
    return frozen ? std::move(inside).error() : std::move(frozen).error();
  };
  tree.hold = [&] { return hold_quietly(hold); };
  return prepare_tree(tree, again);
}

Result<Moves::OutgoingMove> ProcessControl::outgoing(const Mover& mover, NodeId to, bool again) {
  Moves::OutgoingMove move;
  const pid_t first = mover.record ? mover.pids.first : mover.pid.pid;
  if (first != 0) SSI_TRY(claims_.claim(mover.pid, {first}));
  SSI_ASSIGN(move.prepared, prepare(mover, to, again));
  const auto& below = move.prepared.source.below;
  SSI_TRY(claims_.claim(mover.pid, {below.begin(), below.end()}));
  move.address = group_.address_of(to);
  move.port = options_.link_port;
  return move;
}

void ProcessControl::migrate_from_here(SsiPid wanted, NodeId to, const Wish& wish,
                                       MigrateDone done) {
  const auto fail = [&](ErrorCode code, const std::string& why) {
    asio::post(io_, [done, error = Error(code, why)] { done(error); });
  };
  if (!group_.view().quorate) {
    return fail(ErrorCode::kNoQuorum, "the cluster has no quorum; nothing changes hands");
  }
  if (!group_.view().has(to)) {
    return fail(ErrorCode::kFailed, "node " + std::to_string(to.value) + " is not up");
  }
  if (group_.drained(to)) {
    return fail(ErrorCode::kFailed, "node " + std::to_string(to.value) +
                                        " is drained: it takes no guests until `cluster bring " +
                                        std::to_string(to.value) + "`");
  }
  if (!group_.table_valid()) {
    return fail(ErrorCode::kBusy, "the cluster has just changed; try again");
  }
  const Mover mover = mover_of(wanted, wish);
  const SsiPid pid = mover.pid;
  if (moves_.is_moving(pid)) return fail(ErrorCode::kBusy, "it is being moved already");
  if (births_.is_busy(pid)) return fail(ErrorCode::kBusy, "it has just started a process");
  if (moves_.going_out() >= options_.moves_out_max) {
    return fail(ErrorCode::kBusy, std::to_string(moves_.going_out()) +
                                      " moves are leaving this node already; try again");
  }
  if (!mover.record && (pid.home != group_.self() || group_.find(pid))) {
    return fail(ErrorCode::kGone, "no such process here");
  }
  const std::string enablement = handlers_.enablement_of(mover.record ? mover.pids.first : pid.pid);
  const std::uint64_t term = group_.term();
  moves_.start_out(
      pid,
      [this, mover, to, enablement, term, wish]() -> Result<Moves::OutgoingMove> {
        SSI_ASSIGN(auto move, outgoing(mover, to, wish.again));
        MoveTicket& ticket = move.prepared.ticket;
        ticket.term = term;
        ticket.enablement = enablement;
        ticket.by_user = wish.by_user;
        ticket.must_leave = wish.must_leave;
        ticket.demand = wish.demand;
        ticket.source_slowdown = wish.source_slowdown;
        return move;
      },
      [this, pid, done = std::move(done)](Result<migrate::MoveReport> report) {
        claims_.release(pid);
        const auto held = held_signals_.extract(pid);
        if (!held.empty()) {
          for (const group::Signal& signal : held.mapped()) to_guest(signal);
        }
        done(std::move(report));
      });
}

Result<> ProcessControl::check_from_here(SsiPid pid, const Wish& wish) const {
  SSI_TRY(look(mover_of(pid, wish), group_.self()));
  return {};
}

// Guests

Guests::Handlers ProcessControl::guest_handlers() {
  Guests::Handlers h;
  h.on_ended = [this](const GuestRecord& r, SsiPid pid, int status) {
    end_after_output(r, pid, status);
  };
  h.on_lost = [this](const GuestRecord& r) { guest_lost(r, "its realm died"); };
  h.on_stopped = [this](const GuestRecord& r, int signo) { stop_reports_.stopped(r, signo); };
  h.on_continued = [this](const GuestRecord& r) { stop_reports_.continued(r); };
  return h;
}

StopReports::Handlers ProcessControl::stop_handlers() {
  StopReports::Handlers h;
  h.flush = [this](const migrate::StreamRef& s) { (void)streams_.flush(s, kFlushBeforeStop); };
  h.tell_stopped = [this](const GuestRecord& r, int signo) {
    (void)group_.broadcast(group::GuestStopped{r.ticket.pid, r.ticket.epoch, signo});
  };
  h.tell_continued = [this](const GuestRecord& r) {
    (void)group_.broadcast(group::GuestContinued{r.ticket.pid, r.ticket.epoch});
  };
  return h;
}

// Who waits for the process at home finds what it wrote in the pipe. If nobody reads there, the end
// is told all the same, as it would be without us, and the rest follows when somebody does. For
// those below a tree's first process others of the tree wait, here.
void ProcessControl::end_after_output(const GuestRecord& record, SsiPid pid, int wait_status) {
  const bool last = record.living() == std::vector{pid};
  std::vector<migrate::StreamRef> outputs;
  for (const auto& s : record.streams) {
    if (s.write_end && (last || pid == record.ticket.pid)) outputs.push_back(s);
  }
  if (outputs.empty() || flushing_.contains(pid)) {
    if (outputs.empty()) guest_ended(record, pid, wait_status, "");
    return;
  }
  flushing_.insert(pid);
  std::thread([this, record, pid, last, outputs = std::move(outputs), wait_status]() mutable {
    const auto flush_all = [&](std::chrono::milliseconds timeout) {
      std::erase_if(outputs, [&](const auto& s) {
        if (!streams_.flush(s, timeout)) return false;
        if (last) streams_.detach(s);
        return true;
      });
    };
    flush_all(kFlushBeforeEnd);
    asio::post(io_, [this, record, pid, wait_status] {
      flushing_.erase(pid);
      guest_ended(record, pid, wait_status, "");
    });
    if (!last) return;
    const auto until = std::chrono::steady_clock::now() + kFlushAtAll;
    while (!outputs.empty() && std::chrono::steady_clock::now() < until) {
      flush_all(std::chrono::seconds(5));
    }
    for (const auto& s : outputs) streams_.detach(s);
  }).detach();
}

void ProcessControl::guest_ended(const GuestRecord& record, SsiPid pid, int wait_status,
                                 const std::string& reason) {
  if (const auto end = ends_.find(pid); end != ends_.end() && end->second == record.ticket.epoch) {
    return;  // said already
  }
  ends_[pid] = record.ticket.epoch;
  group::Retire r;
  r.process = pid;
  r.epoch = record.ticket.epoch;
  r.start_time = record.start_time(pid);
  r.wait_status = wait_status;
  r.reason = reason;
  r.node = group_.self();
  (void)group_.propose(std::move(r));  // kept until it is decided
}

void ProcessControl::guest_lost(const GuestRecord& record, const std::string& reason) {
  for (const SsiPid pid : record.living()) guest_ended(record, pid, kKilled, reason);
}

void ProcessControl::on_guest_stopped(const group::GuestStopped& m) {
  const auto entry = group_.find(m.process);
  if (m.process.home == group_.self() && entry && entry->epoch == m.epoch) {
    deputies_.stop(m.process.pid, m.signo);
  }
}

void ProcessControl::on_guest_continued(const group::GuestContinued& m) {
  if (m.process.home == group_.self()) deputies_.go_on(m.process.pid);
}

// The group's decisions

void ProcessControl::on_event(const TableReplica::Event& event) {
  if (const auto* moved = std::get_if<TableReplica::Moved>(&event)) {
    on_moved(moved->commit);
  } else if (const auto* ended = std::get_if<TableReplica::Ended>(&event)) {
    on_ended(*ended);
  } else if (const auto* claimed = std::get_if<TableReplica::Claimed>(&event)) {
    on_claimed(claimed->entry);
  } else if (const auto* end = std::get_if<TableReplica::EndedUnconfirmed>(&event)) {
    if (end->retire.process.home == group_.self()) {
      deputies_.finish(end->retire.process.pid, end->retire.wait_status);
    }
  } else if (const auto* decided = std::get_if<TableReplica::Decided>(&event)) {
    if (const auto* c = std::get_if<group::Commit>(&decided->operation)) {
      moves_.on_commit_decided(c->process, c->epoch, decided->applied == Applied::kAccepted);
    } else if (const auto* r = std::get_if<group::Retire>(&decided->operation)) {
      on_end_decided(*r);
    } else if (const auto* b = std::get_if<group::Claim>(&decided->operation)) {
      births_.on_decided(*b, decided->applied == Applied::kAccepted, Births::Clock::now());
    }
  } else if (std::holds_alternative<TableReplica::Established>(event) ||
             std::holds_alternative<TableReplica::Replaced>(event)) {
    if (group_.table_valid()) on_established();
  }
}

void ProcessControl::on_moved(const group::Commit& commit) {
  opened_.erase(commit.process);
  network_moved(commit);
  if (commit.to == group_.self()) {
    const CopyName name{commit.process, commit.epoch};
    // Known before the copy runs: it may end at once.
    if (auto record = guests_.records().load(name)) {
      take_guest(std::move(*record));
    } else {
      retire_missing();
    }
  }
  handlers_.moved(commit);
}

void ProcessControl::take_guest(GuestRecord record) {
  record.committed = true;
  const CopyName name = record.name();
  if (auto saved = guests_.records().save(record); !saved) {
    log_error("guest {}: {}", name.to_string(), saved.error().message());
  }
  guests_.add(std::move(record));
  moves_.on_came(name.pid, name.epoch);
  pipe_demand_.wake();
}

std::vector<PipeDemand::Guest> ProcessControl::guests_on_demand() const {
  std::vector<PipeDemand::Guest> all;
  for (const auto& [pid, record] : guests_.all()) {
    PipeDemand::Guest guest;
    for (const auto& s : record.streams) {
      if (s.on_demand) guest.streams.push_back(s);
    }
    if (guest.streams.empty()) continue;
    auto cgroup = FreezerCgroup::open(freezer_.guest(record.name()));
    if (!cgroup) continue;
    if (auto pids = cgroup->pids()) guest.pids = std::move(*pids);
    all.push_back(std::move(guest));
  }
  return all;
}

void ProcessControl::on_ended(const TableReplica::Ended& ended) {
  const group::Retire& r = ended.retire;
  moves_.on_over(r.process, r.start_time);
  if (const GuestRecord* record = guests_.find_with(r.process);
      record && record->ticket.epoch == r.epoch) {
    end_here(*record, r.process);
  }
  if (r.process.home == group_.self()) {
    deputies_.finish(r.process.pid, r.wait_status);
    const SsiPid first{r.process.home, ended.entry.unit != 0 ? ended.entry.unit : r.process.pid};
    if (!lives_at_all(first)) home_net_.ended(first);
  }
  if (!r.reason.empty()) log_warning("{} ended: {}", r.process.to_string(), r.reason);
  handlers_.ended(r.process, r.reason);
}

// Whether anything is left of what began with this process.
bool ProcessControl::lives_at_all(SsiPid first) const {
  return std::ranges::any_of(group_.entries(), [&](const group::TableEntry& e) {
    return e.process == first || (e.process.home == first.home && e.unit == first.pid);
  });
}

// The table says so; the guest goes with the last of its processes.
void ProcessControl::end_here(const GuestRecord& ended, SsiPid pid) {
  const GuestRecord record = ended;
  const CopyName name = record.name();
  const bool lives = guests_.host_pid(record, pid).has_value();  // then others have given it up
  guests_.note_end(name, pid);
  if (const GuestRecord* now = guests_.find(name.pid); now && !lives && !now->living().empty()) {
    return;
  }
  for (const auto& s : record.streams) {
    if (!s.write_end || lives) streams_.detach(s);  // else end_after_output
  }
  if (lives) {
    guests_.destroy_in_background(name);
  } else {
    guests_.remove(name);
  }
  held_.erase(name.pid);
}

void ProcessControl::on_end_decided(const group::Retire& r) {
  if (const auto end = ends_.find(r.process); end != ends_.end() && end->second == r.epoch) {
    ends_.erase(end);
  }
}

// A guest whose home can't be reached has no files. One whose node is cut off from the cluster will
// be given up by the others, and must not do anything after that. Both stand still until it is
// known how it goes on (on_established), or their end is decided.
void ProcessControl::on_view() { hold_homeless_guests(); }

void ProcessControl::on_tick() {
  if (group_.table_valid()) {
    table_seen_ = std::chrono::steady_clock::now();
    recover_originals();  // what could not be done at once
    births_.look(guests_.all(), Births::Clock::now());
    home_births_.on_tick();
  }
  hold_homeless_guests();
}

void ProcessControl::hold_homeless_guests() {
  // The others give a lost guest up after the grace; it must stand still well before.
  const bool alone = std::chrono::steady_clock::now() - table_seen_ > options_.grace / 2;
  std::map<std::string, std::size_t> held_now;
  for (const auto& [pid, record] : guests_.all()) {
    if (pid.home == group_.self() || held_.contains(pid) || moves_.is_moving(pid)) continue;
    if (group_.view().has(pid.home) && !alone) continue;
    auto cgroup = FreezerCgroup::open(freezer_.guest(record.name()));
    if (!cgroup || !cgroup->freeze_nowait()) continue;
    held_.insert(pid);
    const std::string why =
        alone ? "this node is cut off from the cluster"
              : "node " + std::to_string(pid.home.value) + ", their home, is away";
    ++held_now[why];
    log_info("guest {} stands still: {}", pid.to_string(), why);
  }
  for (const auto& [why, count] : held_now) handlers_.held(count, why);
}

}  // namespace ssi
