#include "ssid/daemon/process_control.h"

#include <signal.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>

#include "migrate/deputy/conversion.h"
#include "migrate/move/frozen_copy.h"
#include "ssid/base/fault.h"
#include "ssid/base/log.h"
#include "ssid/daemon/ports.h"
#include "ssid/wire/carrier/carrier_client.h"

namespace ssi {
namespace asio = boost::asio;
using migrate::CopyName;
using migrate::FreezerCgroup;
using migrate::MoveTicket;

namespace {

constexpr int kKilled = SIGKILL;  // as a wait status: ended by SIGKILL

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
  return c;
}

}  // namespace

ProcessControl::ProcessControl(asio::io_context& io, GroupPort& group, migrate::FreezerRoot freezer,
                               std::shared_ptr<const TlsContext> tls, DaemonPaths paths,
                               Handlers handlers)
    : io_(io),
      group_(group),
      freezer_(std::move(freezer)),
      paths_(std::move(paths)),
      handlers_(std::move(handlers)),
      streams_([this](NodeId node) -> Result<CarrierPeer> {
        return CarrierPeer{node.value, {group_.address_of(node)}, kCarrierPort};
      }),
      realms_(
          group.self(),
          {paths_.run_dir + "/realms", paths_.run_dir + "/criu",
           paths_.program_dir + "/ssid-realm"},
          [this](NodeId home, const std::string& at) -> Result<> {
            SSI_ASSIGN(auto carrier, CarrierClient::connect());
            return carrier.mount_view({{home.value, {group_.address_of(home)}, kCarrierPort}, at});
          },
          [this](NodeId node) { return group_.name_of(node); },
          [this](NodeId home, const std::string& socket) {
            asio::post(io_, [this, home, socket] { guests_.attach_realm(home, socket); });
          }),
      guests_(io, freezer_, GuestRecords(paths_.run_dir + "/guests"), guest_handlers()),
      deputies_(io, deputy_handlers()),
      moves_(io, freezer_, streams_, std::move(tls), paths_.criu, paths_.run_dir + "/images",
             move_handlers()),
      retry_(io) {}

ProcessControl::~ProcessControl() = default;

Result<> ProcessControl::start() { return deputies_.listen(paths_.deputy_socket()); }

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
  h.remember = [this](const MoveTicket& t, const std::vector<migrate::StreamRef>& streams) {
    return guests_.records().save({t, streams});
  };
  h.forget = [this](const MoveTicket& t) { guests_.records().remove({t.pid, t.epoch}); };
  h.stand_down = [this](const MoveTicket& t, const std::vector<int>& carried) {
    stand_down(t, carried);
  };
  h.arrived = [](const MoveTicket& t) { log_info("{}: runs here", t.to_string()); };
  h.refuse = [this](const MoveTicket& t) -> std::optional<std::string> {
    if (!group_.view().quorate) return "the cluster has no quorum here";
    return handlers_.refuse_arrival(t);
  };
  return h;
}

Result<Moves::OutgoingMove> ProcessControl::prepare(SsiPid pid, NodeId to,
                                                    std::optional<GuestRecord> record,
                                                    std::optional<pid_t> host_pid) {
  Moves::OutgoingMove move;
  if (record) {
    if (!host_pid) return Error(ErrorCode::kGone, "it has just ended");
    SSI_ASSIGN(move.prepared, prepare_guest(*record, *host_pid, to, realms_.socket_path(pid.home)));
  } else {
    SSI_ASSIGN(move.prepared, prepare_original(group_.self(), pid.pid, to, Epoch{1}));
  }
  move.address = group_.address_of(to);
  move.port = kMovePort;
  return move;
}

void ProcessControl::migrate_from_here(SsiPid pid, NodeId to, MigrateDone done) {
  const auto fail = [&](ErrorCode code, const std::string& why) {
    asio::post(io_, [done, error = Error(code, why)] { done(error); });
  };
  if (!group_.view().quorate || !group_.table_valid()) {
    return fail(ErrorCode::kNoQuorum, "the cluster has no quorum; nothing changes hands");
  }
  if (moves_.is_moving(pid)) return fail(ErrorCode::kFailed, "it is being moved already");
  if (!group_.view().has(to)) {
    return fail(ErrorCode::kFailed, "node " + std::to_string(to.value) + " is not up");
  }
  std::optional<GuestRecord> record;
  std::optional<pid_t> host_pid;
  if (const GuestRecord* r = guests_.find(pid)) {
    record = *r;
    host_pid = guests_.host_pid(*r);
  } else if (pid.home != group_.self() || group_.find(pid)) {
    return fail(ErrorCode::kGone, "no such process here");
  }
  const bool enabled = handlers_.is_enabled(pid, host_pid.value_or(pid.pid));
  moves_.start_out(
      pid,
      [this, pid, to, record, host_pid, enabled]() -> Result<Moves::OutgoingMove> {
        SSI_ASSIGN(auto move, prepare(pid, to, record, host_pid));
        move.prepared.ticket.loadlevel = enabled;
        return move;
      },
      [this, pid, done = std::move(done)](Result<migrate::MoveReport> report) {
        for (const int signo : std::exchange(held_signals_[pid], {}))
          to_guest(pid.pid, signo, 0, 0, 0);
        held_signals_.erase(pid);
        done(std::move(report));
      });
}

void ProcessControl::check_from_here(SsiPid pid, std::function<void(Result<>)> done) {
  const GuestRecord* record = guests_.find(pid);
  const auto checked = record ? [&]() -> Result<> {
    const auto host_pid = guests_.host_pid(*record);
    if (!host_pid) return Error(ErrorCode::kGone, "it has just ended");
    SSI_TRY(prepare_guest(*record, *host_pid, group_.self(), ""));
    return {};
  }()
      : [&]() -> Result<> {
          SSI_TRY(prepare_original(group_.self(), pid.pid, group_.self(), Epoch{1}));
          return {};
        }();
  done(checked);
}

// The source after the commit, in the mover's thread.
void ProcessControl::stand_down(const MoveTicket& ticket, const std::vector<int>& carried) {
  const CopyName original{ticket.pid, ticket.epoch};
  if (ticket.pid.home == group_.self() && ticket.epoch == Epoch{1})
    return make_deputy(original, carried);
  // Its copy here is of the epoch before.
  const CopyName old{ticket.pid, Epoch{ticket.epoch.value - 1}};
  asio::post(io_, [this, old] {
    if (auto gone = guests_.destroy(old); !gone) {
      log_error("old copy {}: {}", old.to_string(), gone.error().message());
    }
    guests_.remove(old);
  });
}

void ProcessControl::make_deputy(const CopyName& name, const std::vector<int>& carried) {
  auto cgroup = FreezerCgroup::open(freezer_.moving(name));
  if (!cgroup) return log_error("original {}: {}", name.to_string(), cgroup.error().message());
  auto handle = ProcessHandle::open(name.pid.pid);
  auto made = handle ? deputy::become_deputy({.pid = name.pid.pid,
                                              .start_time_ticks = handle->start_ticks(),
                                              .cgroup_dir = cgroup->dir(),
                                              .stub_path = paths_.program_dir + "/ssid-deputy",
                                              .socket_path = paths_.deputy_socket(),
                                              .epoch = name.epoch,
                                              .carried_signals = carried})
                     : Result<>(std::move(handle).error());
  if (!made && made.error().code() != ErrorCode::kGone) {
    return log_error("original {}: does not become the deputy: {}", name.to_string(),
                     made.error().message());
  }
  if (made) made = cgroup->thaw();
  (void)migrate::leave_moving_cgroup(*cgroup);
  // Gone: somebody killed the original while it stood frozen; its guest has to follow (adopt says
  // so).
  asio::post(io_, [this, pid = name.pid.pid] { deputies_.adopt(pid); });
}

// Deputies and guests

Deputies::Handlers ProcessControl::deputy_handlers() {
  Deputies::Handlers h;
  h.on_signal = [this](pid_t pid, int signo, std::uint64_t value, pid_t sender, uid_t sender_uid) {
    to_guest(pid, signo, value, sender, sender_uid);
  };
  h.on_killed = [this](pid_t pid) {
    log_info("deputy {} was killed; so is its guest", pid);
    to_guest(pid, SIGKILL, 0, 0, 0);
  };
  h.fate_of = [this](pid_t pid) {
    Deputies::Handlers::Fate fate;
    const SsiPid process{group_.self(), pid};
    if (const auto stone = group_.tombstone(process)) {
      fate = {true, stone->wait_status};
    } else if (group_.find(process) || !group_.table_valid()) {
      fate = {true, std::nullopt};
    }
    return fate;
  };
  return h;
}

void ProcessControl::to_guest(pid_t home_pid, int signo, std::uint64_t value, pid_t sender,
                              uid_t sender_uid) {
  const SsiPid pid{group_.self(), home_pid};
  const auto entry = group_.find(pid);
  if (!entry) return;
  if (entry->where != group_.self()) {
    group::Signal s;
    s.process = pid;
    s.epoch = entry->epoch;
    s.signo = signo;
    s.value = static_cast<std::int64_t>(value);
    s.sender_uid = sender_uid;
    s.sender_pid = sender;
    (void)group_.broadcast(s);
    return;
  }
  on_signal({pid, entry->epoch, signo, static_cast<std::int64_t>(value), sender_uid, sender});
}

void ProcessControl::on_signal(const group::Signal& signal) {
  const GuestRecord* record = guests_.find(signal.process);
  if (record == nullptr) return;
  // What comes while the copy here may be the old one waits for the outcome; it is frozen anyway.
  if (moves_.is_moving(signal.process) && signal.signo != SIGKILL) {
    held_signals_[signal.process].push_back(signal.signo);
    return;
  }
  if (auto sent = guests_.signal(signal.process, signal.signo); !sent) {
    log_debug("signal {} for {}: {}", signal.signo, signal.process.to_string(),
              sent.error().message());
  }
}

Guests::Handlers ProcessControl::guest_handlers() {
  Guests::Handlers h;
  h.on_ended = [this](const GuestRecord& r, int status) { guest_ended(r, status, ""); };
  h.on_lost = [this](const GuestRecord& r) { guest_ended(r, kKilled, "its realm died"); };
  h.on_stopped = [this](const GuestRecord& r, int signo) {
    (void)group_.broadcast(group::GuestStopped{r.ticket.pid, r.ticket.epoch, signo});
  };
  h.on_continued = [this](const GuestRecord& r) {
    (void)group_.broadcast(group::GuestContinued{r.ticket.pid, r.ticket.epoch});
  };
  return h;
}

void ProcessControl::guest_ended(const GuestRecord& record, int wait_status,
                                 const std::string& reason) {
  group::Retire r;
  r.process = record.ticket.pid;
  r.epoch = record.ticket.epoch;
  r.start_time = record.ticket.start_time;
  r.wait_status = wait_status;
  r.reason = reason;
  r.node = group_.self();
  ends_[r.process] = r;
  propose_ends();
}

// Until it is decided; a proposal that got lost in a change of view is made again.
void ProcessControl::propose_ends() {
  if (ends_.empty()) return;
  for (const auto& [pid, retire] : ends_) (void)group_.propose(retire);
  retry_.expires_after(std::chrono::seconds(1));
  retry_.async_wait([this](boost::system::error_code ec) {
    if (!ec) propose_ends();
  });
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

void ProcessControl::on_decided(const group::Operation& operation, bool accepted) {
  if (const auto* c = std::get_if<group::Commit>(&operation)) {
    if (accepted && c->to == group_.self()) {
      // Known before the copy runs: it may end at once.
      for (GuestRecord& r : guests_.records().load_all()) {
        if (r.ticket.pid == c->process && r.ticket.epoch == c->epoch) guests_.add(std::move(r));
      }
    }
    moves_.on_commit_decided(c->process, c->epoch, accepted);
    if (accepted) handlers_.moved(*c);
  } else if (const auto* r = std::get_if<group::Retire>(&operation)) {
    if (const auto end = ends_.find(r->process);
        end != ends_.end() && end->second.epoch == r->epoch) {
      ends_.erase(end);
    }
    if (!accepted) return;
    if (const GuestRecord* record = guests_.find(r->process);
        record && record->ticket.epoch == r->epoch) {
      const CopyName name = record->name();
      if (r->node != group_.self()) (void)guests_.destroy(name);  // others have given it up
      for (const auto& s : record->streams) streams_.detach(s);
      guests_.remove(name);
    }
    if (r->process.home == group_.self()) deputies_.finish(r->process.pid, r->wait_status);
    if (!r->reason.empty()) log_warning("{} ended: {}", r->process.to_string(), r->reason);
    handlers_.ended(r->process, r->reason);
  }
}

void ProcessControl::on_left(NodeId node) { moves_.on_node_left(node); }

// A guest whose home can't be reached has no files: it stands still until home is back, or its end
// is decided.
void ProcessControl::on_view_changed() {
  for (const auto& [pid, record] : guests_.all()) {
    auto cgroup = FreezerCgroup::open(freezer_.guest(record.name()));
    if (!cgroup || moves_.is_moving(pid)) continue;
    if (!group_.view().has(pid.home)) {
      log_info("guest {} stands still: its home is away", pid.to_string());
      (void)cgroup->freeze_nowait();
    } else {
      (void)cgroup->thaw();
    }
  }
}

// After a start or a time apart

void ProcessControl::on_table_valid() {
  moves_.on_table_replaced([this](SsiPid pid) -> std::optional<Epoch> {
    if (const auto entry = group_.find(pid)) return entry->epoch;
    if (const auto stone = group_.tombstone(pid)) return stone->epoch;
    return std::nullopt;
  });
  for (const NodeId home : realms_.find_living())
    guests_.attach_realm(home, realms_.socket_path(home));
  recover_guests();
  recover_originals();
  recover_deputies();
  propose_ends();
}

void ProcessControl::recover_guests() {
  std::map<CopyName, GuestRecord> records;
  for (GuestRecord& r : guests_.records().load_all()) records.emplace(r.name(), r);
  for (const CopyName& name : freezer_.list_guests()) {
    if (moves_.knows(name)) continue;  // a move of this ssid decides about it
    const auto entry = group_.find(name.pid);
    const auto record = records.find(name);
    const bool ours = entry && entry->where == group_.self() && entry->epoch == name.epoch;
    if (ours && record != records.end()) {
      const bool known = guests_.find(name.pid) != nullptr;
      if (!known) guests_.add(record->second);
      for (const auto& s : record->second.streams) (void)streams_.start(s);
      if (auto cgroup = FreezerCgroup::open(freezer_.guest(name));
          cgroup && !moves_.is_moving(name.pid)) {
        (void)cgroup->thaw();
      }
      if (!known) log_info("guest {} found again", name.to_string());
      continue;
    }
    log_warning("guest copy {} is not the process (any more); it is destroyed", name.to_string());
    (void)guests_.destroy(name);
    guests_.remove(name);
  }
  // Committed to us, but nothing of it is here: the node was off.
  for (const group::TableEntry& e : group_.entries()) {
    if (e.where != group_.self()) continue;
    const CopyName name{e.process, e.epoch};
    if (::access(freezer_.guest(name).c_str(), F_OK) == 0) continue;
    GuestRecord lost;
    lost.ticket.pid = e.process;
    lost.ticket.epoch = e.epoch;
    lost.ticket.start_time = e.start_time;
    guest_ended(lost, kKilled,
                "it ran on node " + std::to_string(e.where.value) + ", which was off");
  }
  for (const NodeId home : realms_.find_living()) guests_.resubscribe(home);
}

void ProcessControl::recover_originals() {
  for (const CopyName& name : freezer_.list_moving()) {
    if (moves_.is_moving(name.pid)) continue;
    const auto entry = group_.find(name.pid);
    const auto stone = group_.tombstone(name.pid);
    const bool came =
        (entry && entry->epoch >= name.epoch) || (stone && stone->epoch >= name.epoch);
    log_info("original {} was left frozen: {}", name.to_string(),
             came ? "its move came" : "it goes on here");
    if (came) {
      make_deputy(name, {});
    } else if (auto copy = migrate::FrozenCopy::adopt_original(freezer_, name)) {
      (void)copy->thaw();
    }
  }
}

void ProcessControl::recover_deputies() {
  for (const group::TableEntry& e : group_.entries()) {
    if (e.process.home == group_.self()) deputies_.adopt(e.process.pid);
  }
}

}  // namespace ssi
