#include "ssid/registry/process_table.h"

#include <algorithm>
#include <limits>
#include <sstream>

namespace ssi {
namespace {
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
}  // namespace

const char* name_of(Applied applied) {
  switch (applied) {
    case Applied::kAccepted:
      return "accepted";
    case Applied::kStale:
      return "stale";
    case Applied::kNoQuorum:
      return "no quorum";
    case Applied::kUnknownTarget:
      return "a node that is not in the view";
  }
  return "?";
}

Applied ProcessTable::need_quorum_and(const View& view, std::initializer_list<NodeId> nodes) const {
  if (!view.quorate) return Applied::kNoQuorum;
  for (const NodeId node : nodes) {
    if (!view.has(node)) return Applied::kUnknownTarget;
  }
  return Applied::kAccepted;
}

// A process of the tree that `commit` moves: it moves from where the tree is, or is new to the
// table (all at a first move, later those that were born where the tree is).
Applied ProcessTable::judge_member(const group::Member& member, const group::Commit& commit) const {
  const SsiPid process{commit.process.home, member.pid};
  if (process == commit.process) return Applied::kStale;
  if (const ProcessRecord* entry = find(process)) {
    const bool next = commit.epoch == entry->epoch.next() && commit.from == entry->where &&
                      member.start_time == entry->start_time && !entry->gone &&
                      entry->unit == commit.process.pid;
    return next ? Applied::kAccepted : Applied::kStale;
  }
  const Tombstone* dead = find_tombstone(process);
  return dead && dead->start_time == member.start_time ? Applied::kStale : Applied::kAccepted;
}

Applied ProcessTable::judge(const group::Commit& commit, const View& view) const {
  const Applied may = need_quorum_and(view, {commit.from, commit.to, commit.process.home});
  if (may != Applied::kAccepted) return may;
  for (const group::Member& member : commit.members) {
    const Applied applied = judge_member(member, commit);
    if (applied != Applied::kAccepted) return applied;
  }
  if (const ProcessRecord* entry = find(commit.process)) {
    const bool next = commit.epoch == entry->epoch.next() && commit.from == entry->where &&
                      commit.start_time == entry->start_time && !entry->gone;
    return next ? Applied::kAccepted : Applied::kStale;
  }
  if (commit.epoch != Epoch{1} || commit.from != commit.process.home) return Applied::kStale;
  if (const Tombstone* dead = find_tombstone(commit.process)) {
    if (dead->start_time == commit.start_time) return Applied::kStale;
  }
  return entries_.size() + commit.members.size() < limits_.entries_max ? Applied::kAccepted
                                                                       : Applied::kNoQuorum;
}

Applied ProcessTable::apply(const group::Commit& commit, const View& view) {
  const Applied applied = judge(commit, view);
  if (applied == Applied::kAccepted) carry_out(commit);
  return applied;
}

void ProcessTable::carry_out(const group::Commit& commit) {
  ProcessRecord& entry = entries_[commit.process];
  entry.process = commit.process;
  entry.where = commit.to;
  entry.epoch = commit.epoch;
  entry.start_time = commit.start_time;
  entry.comm = commit.comm;
  entry.exe = commit.exe;
  entry.uid = commit.uid;
  ++entry.nmigs;
  entry.since_ms = commit.at_ms;
  for (const group::Member& member : commit.members) {
    ProcessRecord& other = entries_[{commit.process.home, member.pid}];
    other.process = {commit.process.home, member.pid};
    other.where = commit.to;
    other.epoch = commit.epoch;
    other.start_time = member.start_time;
    other.comm = member.comm;
    other.exe = member.exe;
    other.uid = member.uid;
    other.nmigs = entry.nmigs;
    other.since_ms = commit.at_ms;
    other.unit = commit.process.pid;
  }
}

Applied ProcessTable::judge(const group::Retire& retire, NodeId sender, const View& view) const {
  if (!view.quorate) return Applied::kNoQuorum;
  const ProcessRecord* entry = find(retire.process);
  if (entry == nullptr || entry->epoch != retire.epoch || entry->start_time != retire.start_time) {
    return Applied::kStale;
  }
  if (sender == entry->where || sender == entry->process.home) return Applied::kAccepted;
  // Anybody else may only give up what is lost; it may have come back meanwhile.
  const bool lost = entry->gone || !view.has(entry->where) || !view.has(entry->process.home);
  return lost ? Applied::kAccepted : Applied::kStale;
}

Applied ProcessTable::apply(const group::Retire& retire, NodeId sender, const View& view) {
  const Applied applied = judge(retire, sender, view);
  if (applied == Applied::kAccepted) carry_out(retire);
  return applied;
}

void ProcessTable::carry_out(const group::Retire& retire) {
  entries_.erase(retire.process);
  bury({.process = retire.process,
        .epoch = retire.epoch,
        .start_time = retire.start_time,
        .wait_status = retire.wait_status,
        .reason = retire.reason,
        .node = retire.node});
}

Applied ProcessTable::judge(const group::Claim& claim, NodeId sender, const View& view) const {
  const TableEntry& claimed = claim.entry;
  const Applied may = need_quorum_and(view, {claimed.where});
  if (may != Applied::kAccepted) return may;
  if (sender != claimed.where || claimed.gone) return Applied::kStale;
  // One of a unit is where that is.
  const ProcessRecord* first = find({claimed.process.home, claimed.unit});
  if (claimed.unit != 0 && first != nullptr &&
      (first->where != claimed.where || first->epoch != claimed.epoch)) {
    return Applied::kStale;
  }
  if (const ProcessRecord* entry = find(claimed.process)) {
    const bool newer =
        entry->start_time == claimed.start_time && claimed.epoch > entry->epoch && !entry->gone;
    return newer ? Applied::kAccepted : Applied::kStale;
  }
  if (const Tombstone* dead = find_tombstone(claimed.process)) {
    if (dead->start_time == claimed.start_time) return Applied::kStale;
  }
  return entries_.size() < limits_.entries_max ? Applied::kAccepted : Applied::kNoQuorum;
}

Applied ProcessTable::apply(const group::Claim& claim, NodeId sender, const View& view) {
  const Applied applied = judge(claim, sender, view);
  if (applied == Applied::kAccepted) carry_out(claim);
  return applied;
}

void ProcessTable::carry_out(const group::Claim& claim) {
  static_cast<TableEntry&>(entries_[claim.entry.process]) = claim.entry;
}

Applied ProcessTable::judge(const group::SetDrained& drained, const View& view) const {
  if (!view.quorate) return Applied::kNoQuorum;
  const bool fits = !drained.drained || drained_.size() < group::kNodesMax;
  return fits ? Applied::kAccepted : Applied::kUnknownTarget;
}

Applied ProcessTable::apply(const group::SetDrained& drained, const View& view) {
  const Applied applied = judge(drained, view);
  if (applied == Applied::kAccepted) carry_out(drained);
  return applied;
}

void ProcessTable::carry_out(const group::SetDrained& drained) {
  if (drained.drained) {
    drained_.insert(drained.node);
  } else {
    drained_.erase(drained.node);
  }
}

void ProcessTable::carry_out(const group::Operation& operation) {
  if (const auto* commit = std::get_if<group::Commit>(&operation)) {
    carry_out(*commit);
  } else if (const auto* retire = std::get_if<group::Retire>(&operation)) {
    carry_out(*retire);
  } else if (const auto* claim = std::get_if<group::Claim>(&operation)) {
    carry_out(*claim);
  } else if (const auto* drained = std::get_if<group::SetDrained>(&operation)) {
    carry_out(*drained);
  } else {
    apply(std::get<group::Boots>(operation));
  }
}

void ProcessTable::apply(const group::Boots& boots) {
  for (const auto& [node, boot_id] : boots.boots) {
    std::string& known = boots_[node];
    if (!known.empty() && known != boot_id) {
      for (auto& [process, entry] : entries_) {
        if (entry.where != node && process.home != node) continue;
        entry.gone = true;
        entry.booted = node;
      }
    }
    known = boot_id;
  }
}

void ProcessTable::bury(Tombstone tombstone) {
  std::erase_if(tombstones_,
                [&](const Tombstone& old) { return old.process == tombstone.process; });
  tombstones_.push_back(std::move(tombstone));
  while (tombstones_.size() > limits_.tombstones_max) tombstones_.pop_front();
}

void ProcessTable::on_view(const View& view, std::uint64_t now_ms, std::uint64_t grace_ms) {
  for (auto& [process, entry] : entries_) see(entry, view, now_ms, grace_ms);
}

void ProcessTable::on_view(SsiPid process, const View& view, std::uint64_t now_ms,
                           std::uint64_t grace_ms) {
  const auto found = entries_.find(process);
  if (found != entries_.end()) see(found->second, view, now_ms, grace_ms);
}

void ProcessTable::see(ProcessRecord& entry, const View& view, std::uint64_t now_ms,
                       std::uint64_t grace_ms) {
  const bool away = !view.has(entry.where) || !view.has(entry.process.home);
  if (!away && !entry.gone) {
    entry.state = ProcessState::kRunning;
    entry.deadline_ms = 0;
    return;
  }
  if (entry.state != ProcessState::kLost) {
    entry.state = ProcessState::kLost;
    // One that is at home is away together with its deputy and its files: it goes on there.
    const bool at_home = entry.where == entry.process.home;
    entry.deadline_ms = at_home ? kNever : now_ms + grace_ms;
  }
  if (entry.gone) entry.deadline_ms = std::min(entry.deadline_ms, now_ms);
}

std::vector<ProcessRecord> ProcessTable::expired(std::uint64_t now_ms) const {
  std::vector<ProcessRecord> all;
  for (const auto& [process, entry] : entries_) {
    if (entry.state == ProcessState::kLost && entry.deadline_ms <= now_ms) all.push_back(entry);
  }
  return all;
}

std::optional<std::uint64_t> ProcessTable::next_deadline_ms() const {
  std::optional<std::uint64_t> next;
  for (const auto& [process, entry] : entries_) {
    if (entry.state != ProcessState::kLost) continue;
    if (entry.deadline_ms != kNever && (!next || entry.deadline_ms < *next))
      next = entry.deadline_ms;
  }
  return next;
}

const ProcessRecord* ProcessTable::find(SsiPid process) const {
  const auto found = entries_.find(process);
  return found == entries_.end() ? nullptr : &found->second;
}

const Tombstone* ProcessTable::find_tombstone(SsiPid process) const {
  const auto found = std::find_if(tombstones_.rbegin(), tombstones_.rend(),
                                  [&](const Tombstone& t) { return t.process == process; });
  return found == tombstones_.rend() ? nullptr : &*found;
}

bool ProcessTable::same_as(const ProcessTable& other) const {
  const auto same = [](const auto& a, const auto& b) {
    return a.first == b.first &&
           static_cast<const TableEntry&>(a.second) == static_cast<const TableEntry&>(b.second);
  };
  return std::equal(entries_.begin(), entries_.end(), other.entries_.begin(), other.entries_.end(),
                    same) &&
         tombstones_ == other.tombstones_ && boots_ == other.boots_ && drained_ == other.drained_;
}

std::string ProcessTable::to_string() const {
  std::ostringstream out;
  for (const auto& [process, entry] : entries_) {
    out << process.to_string() << " at " << entry.where.value << " epoch " << entry.epoch.value
        << " started " << entry.start_time << " moves " << entry.nmigs
        << (entry.unit != 0 ? " with " + std::to_string(entry.unit) : "")
        << (entry.gone ? " gone" : "") << "\n";
  }
  for (const Tombstone& t : tombstones_) {
    out << t.process.to_string() << " ended at " << t.node.value << " epoch " << t.epoch.value
        << " status " << t.wait_status << "\n";
  }
  for (const auto& [node, boot_id] : boots_) out << "boot " << node.value << " " << boot_id << "\n";
  for (const NodeId node : drained_) out << "drained " << node.value << "\n";
  return out.str();
}

void ProcessTable::restore(std::vector<TableEntry> entries, std::vector<Tombstone> tombstones,
                           std::vector<group::Boot> boots, const std::vector<NodeId>& drained) {
  entries_.clear();
  for (TableEntry& entry : entries) {
    static_cast<TableEntry&>(entries_[entry.process]) = std::move(entry);
  }
  tombstones_.assign(std::make_move_iterator(tombstones.begin()),
                     std::make_move_iterator(tombstones.end()));
  while (tombstones_.size() > limits_.tombstones_max) tombstones_.pop_front();
  boots_.clear();
  for (group::Boot& boot : boots) boots_[boot.node] = std::move(boot.boot_id);
  drained_ = {drained.begin(), drained.end()};
}

}  // namespace ssi
