// ProcessControl after a start of ssid, or a time apart: the table is the group's again, and what
// is on this node is made to agree with it.
#include <signal.h>

#include "migrate/move/frozen_copy.h"
#include "ssid/base/log.h"
#include "ssid/base/process_handle.h"
#include "ssid/daemon/process_control.h"

namespace ssi {
using migrate::CopyName;
using migrate::FreezerCgroup;

namespace {

// The guest that an entry's process is, or is one of.
CopyName guest_of(const group::TableEntry& e) {
  return {{e.process.home, e.unit != 0 ? e.unit : e.process.pid}, e.epoch};
}

}  // namespace

Result<> ProcessControl::start() {
  for (const NodeId home : realms_.find_living()) {
    guests_.attach_realm(home, realms_.socket_path(home));
  }
  for (GuestRecord& r : guests_.records().load_all()) {
    if (!r.committed || ::access(freezer_.guest(r.name()).c_str(), F_OK) != 0) continue;
    // Its copy may have been the one that a move left behind: nothing is done with its streams
    // until the table is known.
    log_info("guest {} found again", r.name().to_string());
    guests_.add(std::move(r));
  }
  pipe_demand_.wake();
  home_net_.start();
  SSI_ASSIGN(taken_fifos_, TakenFifos::create(io_, [this](pid_t deputy, const std::string& fifo) {
               fifo_opened(deputy, fifo);
             }));
  return deputies_.listen(paths_.deputy_socket());
}

// An ssid that died in the midst of a move may have left them drained.
void ProcessControl::go_on_with_streams(const GuestRecord& record) {
  for (const auto& s : record.streams) {
    (void)streams_.start(s);
    (void)streams_.resume(s);
  }
}

void ProcessControl::on_established() {
  table_seen_ = std::chrono::steady_clock::now();
  recover_guests();
  retire_missing();
  recover_originals();
  recover_deputies();
  home_net_.settle(group_.term(), [this](SsiPid pid) -> std::optional<NodeId> {
    if (const auto entry = group_.find(pid)) return entry->where;
    return std::nullopt;
  });
  // Ends that came while their guest was not known here.
  for (const NodeId home : realms_.find_living()) guests_.resubscribe(home);
}

void ProcessControl::recover_guests() {
  for (const CopyName& name : freezer_.list_guests()) {
    if (recover_guest(name)) continue;
    log_warning("guest copy {} is not the process (any more); it is destroyed", name.to_string());
    empty_fifos_left_by(name);
    drop_copy(name);
  }
}

// It has left home, and no ssid was here any more to say what with.
void ProcessControl::empty_fifos_left_by(const CopyName& name) {
  const auto record = guests_.records().load(name);
  const auto entry = group_.find(name.pid);
  if (!record || !entry || name.pid.home != group_.self() || entry->where == group_.self()) return;
  std::vector<pid_t> deputies;
  for (const SsiPid pid : record->living()) deputies.push_back(pid.pid);
  empty_fifos(deputies, {});
}

// The process is elsewhere, or over.
void ProcessControl::drop_copy(const CopyName& name) {
  if (const auto record = guests_.records().load(name)) {
    for (const auto& s : record->streams) streams_.detach(s);
  }
  if (auto gone = guests_.destroy(name); !gone) {
    log_error("old copy {}: {}", name.to_string(), gone.error().message());
  }
  guests_.remove(name);
  if (guests_.find(name.pid) == nullptr) held_.erase(name.pid);
}

// Whether the copy is, or may become, the process.
bool ProcessControl::recover_guest(const CopyName& name) {
  const auto record = guests_.records().load(name);
  const auto living = record ? record->living() : std::vector<SsiPid>();
  const auto is_ours = [&](SsiPid pid) {
    const auto entry = group_.find(pid);
    return entry && entry->start_time == record->start_time(pid) && entry->where == group_.self() &&
           entry->epoch == name.epoch;
  };
  const bool ours = std::ranges::any_of(living, is_ours);
  if (moves_.is_arriving(name)) {
    // A move of this ssid. In this term it may still come; an earlier one's is decided by the
    // table.
    if (ours) take_guest(*record);
    if (!ours && record && record->ticket.term != group_.term()) {
      moves_.on_abandoned(record->ticket.from, name.pid, name.epoch);
    }
    return true;
  }
  if (!record) return false;
  const auto is_unknown = [&](SsiPid pid) {
    const auto stone = group_.tombstone(pid);
    return !group_.find(pid) && !(stone && stone->start_time == record->start_time(pid)) &&
           record->committed;
  };
  const bool unknown = !ours && std::ranges::any_of(living, is_unknown);
  if (!ours && !unknown) return false;
  if (guests_.find(name.pid) == nullptr) {
    // Its move came while no ssid was here to hear of it.
    take_guest(*record);
    log_info("guest {} found again", name.to_string());
  }
  // All of ssid was away at once: this node alone knows of it.
  if (unknown) claim(*record);
  for (const group::TableEntry& e : group_.entries()) {
    if (e.where == group_.self() && e.unit == name.pid.pid && e.process.home == name.pid.home)
      join_guest(e);
  }
  if (moves_.is_moving(name.pid) || !group_.view().has(name.pid.home)) return true;
  go_on_with_streams(*record);
  if (auto cgroup = FreezerCgroup::open(freezer_.guest(name))) (void)cgroup->thaw();
  held_.erase(name.pid);
  return true;
}

void ProcessControl::claim(const GuestRecord& record) {
  const migrate::MoveTicket& t = record.ticket;
  group::TableEntry entry{.process = t.pid,
                          .where = group_.self(),
                          .epoch = t.epoch,
                          .start_time = t.start_time,
                          .comm = t.comm,
                          .uid = t.uid,
                          .exe = t.exe,
                          .nmigs = static_cast<std::uint32_t>(t.epoch.value)};
  if (!record.over.contains(t.pid.pid)) (void)group_.propose(group::Claim{.entry = entry});
  entry.unit = t.pid.pid;
  for (const migrate::UnitMember& m : t.members) {
    if (record.over.contains(m.pid)) continue;
    entry.process.pid = m.pid;
    entry.start_time = m.start_time;
    entry.comm = m.comm;
    entry.uid = m.uid;
    entry.exe = m.exe;
    (void)group_.propose(group::Claim{.entry = entry});
  }
}

// Committed to this node, but nothing of it is here: the node was off, or its copy died.
void ProcessControl::retire_missing() {
  for (const group::TableEntry& e : group_.entries()) {
    if (e.where != group_.self() || e.gone) continue;
    const CopyName name = guest_of(e);
    if (::access(freezer_.guest(name).c_str(), F_OK) == 0) continue;
    GuestRecord lost;
    lost.ticket.pid = e.process;
    lost.ticket.epoch = e.epoch;
    lost.ticket.start_time = e.start_time;
    guest_ended(
        lost, e.process, SIGKILL,
        "nothing of it is left on node " + std::to_string(e.where.value) + ", where it ran");
  }
}

void ProcessControl::recover_originals() {
  for (const CopyName& name : freezer_.list_moving()) {
    if (moves_.is_moving(name.pid)) continue;
    const auto original = ProcessHandle::open(name.pid.pid);
    const auto is_it = [&](const auto& known) {
      return known && known->epoch >= name.epoch &&
             (!original || known->start_time == original->start_ticks());
    };
    const bool came = is_it(group_.find(name.pid)) || is_it(group_.tombstone(name.pid));
    log_info("original {} was left frozen: {}", name.to_string(),
             came ? "its move came" : "it goes on here");
    if (came) {
      make_deputies(name, {});
    } else if (auto copy = migrate::FrozenCopy::adopt_originals(freezer_, name)) {
      (void)copy->thaw();
    }
  }
}

void ProcessControl::recover_deputies() {
  std::vector<pid_t> deputies;
  for (const group::TableEntry& e : group_.entries()) {
    // One whose move is not quite done becomes a deputy in a moment (stand_down).
    if (e.process.home != group_.self() || moves_.is_moving(e.process)) continue;
    deputies_.adopt(e.process.pid);
    deputies.push_back(e.process.pid);
  }
  taken_fifos_->watch(deputies, TakenFifos::Clock::now());
}

}  // namespace ssi
