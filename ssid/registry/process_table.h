// Which process lives where: a pure table of the processes that have moved, and what became of
// those that ended. Every member holds the same one, because TableReplica feeds all of them the
// same operations in one order.
//
// Rules (they are what keeps a process from running twice):
//  * Commit: only in a quorate view that has `from`, `to` and the home; the epoch is exactly one
//  more than the
//    current one; `from` is where the process is. The first move has epoch 1, starts at home and
//    needs an absent entry. So of two commits for one epoch only the first in the order counts,
//    everywhere. The members of a tree move with it by the same rule, all of them or none, and
//    share its epoch; one that the table does not know was born where the tree was.
//  * Retire: only at exactly the current epoch and of the same process (start time). Then a
//  tombstone stays,
//    so that the same or an older message finds no entry again; the last `tombstones_max` of them
//    are kept.
//  * Claim: by the node that runs it; counts only if nothing newer is known. So what a guest starts
//  while it is away comes into the table, too: where its unit is, at the unit's epoch.
//  * SetDrained: in a quorate view, by anybody. It says nothing about a process; it stands in this
//    table because it needs the same order, the same quorum and the same snapshots.
//
// An entry is *lost* while its node or its home is not in the view (or has booted since: `gone`).
// Deadlines are this member's own business and no part of the table's equality.
//
// One thread; owned by TableReplica; `now` and clocks are passed in, milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/cluster/cluster.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

enum class Applied {
  kAccepted,
  kStale,          // an old epoch, another process, or not where the message says
  kNoQuorum,       // no decision can be made now
  kUnknownTarget,  // from, to or home is not in the view
};
const char* name_of(Applied applied);

enum class ProcessState {
  kRunning,
  kLost,  // its node or home is away; given up at the deadline (a guest at its home: never, but
          // when it is `gone`), running again if the node comes
          // back in time
};

using group::TableEntry;
using group::Tombstone;

struct ProcessRecord : TableEntry {
  ProcessState state = ProcessState::kRunning;
  std::uint64_t deadline_ms = 0;  // of a lost one
  NodeId booted;                  // of one that is gone: why; no node if this member was not there
};

class ProcessTable {
 public:
  struct Limits {
    std::size_t tombstones_max = 4096;
    std::size_t entries_max = 1'000'000;
  };

  ProcessTable() = default;
  explicit ProcessTable(Limits limits) : limits_(limits) {}

  // What apply() would say, without doing it.
  Applied judge(const group::Commit& commit, const View& view) const;
  Applied judge(const group::Retire& retire, NodeId sender, const View& view) const;
  Applied judge(const group::Claim& claim, NodeId sender, const View& view) const;
  Applied judge(const group::SetDrained& drained, const View& view) const;

  Applied apply(const group::Commit& commit, const View& view);
  Applied apply(const group::Retire& retire, NodeId sender, const View& view);
  Applied apply(const group::Claim& claim, NodeId sender, const View& view);
  Applied apply(const group::SetDrained& drained, const View& view);
  // What was judged kAccepted where it was delivered; not judged again.
  void carry_out(const group::Operation& operation);
  // The boot ids of a view's members: whoever has booted since has lost its guests, and its
  // processes abroad.
  void apply(const group::Boots& boots);

  // Which entries are lost: by the members of `view`. Deadlines of newly lost ones: now_ms +
  // grace_ms; of those that are gone for good: now_ms.
  void on_view(const View& view, std::uint64_t now_ms, std::uint64_t grace_ms);
  // The same for one process only.
  void on_view(SsiPid process, const View& view, std::uint64_t now_ms, std::uint64_t grace_ms);
  // Lost ones whose deadline has passed, oldest process first.
  std::vector<ProcessRecord> expired(std::uint64_t now_ms) const;
  // The next deadline; nullopt: nothing is lost.
  std::optional<std::uint64_t> next_deadline_ms() const;

  const ProcessRecord* find(SsiPid process) const;
  const Tombstone* find_tombstone(SsiPid process) const;
  const std::map<SsiPid, ProcessRecord>& entries() const { return entries_; }
  const std::deque<Tombstone>& tombstones() const { return tombstones_; }
  const std::map<NodeId, std::string>& boots() const { return boots_; }
  // Nodes that are closed for guests.
  const std::set<NodeId>& drained() const { return drained_; }

  // Without states and deadlines, which belong to a member and not to the table.
  bool same_as(const ProcessTable& other) const;
  // Text of same_as()'s content, for tests and `--json`.
  std::string to_string() const;

  void restore(std::vector<TableEntry> entries, std::vector<Tombstone> tombstones,
               std::vector<group::Boot> boots, const std::vector<NodeId>& drained);

 private:
  void carry_out(const group::Commit& commit);
  void carry_out(const group::Retire& retire);
  void carry_out(const group::Claim& claim);
  void carry_out(const group::SetDrained& drained);
  Applied judge_member(const group::Member& member, const group::Commit& commit) const;
  Applied need_quorum_and(const View& view, std::initializer_list<NodeId> nodes) const;
  static void see(ProcessRecord& entry, const View& view, std::uint64_t now_ms,
                  std::uint64_t grace_ms);
  void bury(Tombstone tombstone);

  Limits limits_;
  std::map<SsiPid, ProcessRecord> entries_;
  std::deque<Tombstone> tombstones_;  // oldest first; at most one for a process
  std::map<NodeId, std::string> boots_;
  std::set<NodeId> drained_;
};

}  // namespace ssi
