// One member's copy of the process table, and how all copies stay equal.
//
// Why the group's order is not enough: a member that is cut off may have been given a message that
// those who stay never get (cluster.h, promises 3 and 4). If it acted on a Commit then, and the
// others, who have quorum and not the Commit, thawed the source, the process would run twice. So an
// operation counts only when more than half of the configured nodes have said that they hold it;
// after that every later quorate view has a member that holds it, and that one's table is taken.
// (Two-phase commit without it would block for ever on a node that has died; a leader that numbers
// the operations would cost one more round and be one more thing to lose.)
//
//   Ready   operation delivered -> judged on the table with all pending ones -> pending -> everyone
//   sends Ack
//           Acks of more than half delivered -> carried out: Moved, Ended, Claimed, Drained, and
//           Decided at its proposer
//
//   View    what we hold but have not seen our own Ack of is forgotten: it may have come behind a
//   gap. (Others
//           can have counted only an Ack that came back to us too, before the view changed.)
//           lowest member: SyncRequest(ballot) -> all: SyncReply(what we hold, highest ballot seen)
//           a higher ballot was seen by somebody: the lowest asks again with a higher one
//           all replies are there: the member that holds most (latest term, then most operations,
//           then the lowest number) is the model; it sends a Snapshot if the others do not hold the
//           same; operations that come meanwhile wait last part delivered: everybody is equal. In a
//           quorate view a new term begins with the operation Boots (who runs which boot) and what
//           waited is judged. The term is *established* when Boots is carried out.
//
// Without quorum the copies are made equal too (the one that holds most wins), but nothing is
// carried out. One thing can be known without quorum, that a guest has ended, from the node it ran
// on: EndedUnconfirmed.
//
// A restarted ssid that has not restored save() counts as one that never held anything. With save()
// written before the messages go out (Effects::save), restarts of ssid lose nothing; only reboots
// do.
//
// Pure: `now` is passed in, effects are returned. One per ssid, one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ssid/cluster/cluster.h"
#include "ssid/registry/process_table.h"
#include "ssid/registry/snapshot_parts.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

class TableReplica {
 public:
  // ---- what the owner is to do, in this order: save, send, events

  // The process is at commit.to from now on, at this epoch, for good.
  struct Moved {
    group::Commit commit;
  };
  // Out of the table: it ended, or was given up. `entry` is what it was.
  struct Ended {
    group::Retire retire;
    TableEntry entry;
  };
  struct Claimed {
    TableEntry entry;
  };
  // The node is closed for guests from now on, or open again (it may have been before).
  struct Drained {
    NodeId node;
    bool drained = true;
  };
  // Its node says that it has ended; the table will say so when there is quorum.
  struct EndedUnconfirmed {
    group::Retire retire;
  };
  // Of one of our own proposals; exactly once for each.
  struct Decided {
    std::uint64_t proposal;
    Applied applied;
    group::Operation operation;
  };
  // The table was taken from another member: compare it with what there is on this node.
  struct Replaced {};
  // The table is that of a quorate view, and proposals are possible. After it, compare the table
  // with what there is on this node: Claim guests that it does not know, end deputies and guests
  // that it does not have.
  struct Established {};
  using Event = std::variant<Moved, Ended, Claimed, Drained, EndedUnconfirmed, Decided, Replaced,
                             Established>;

  struct Effects {
    bool save = false;  // write save() to where a restarted ssid finds it
    std::vector<group::GroupMessage> send;
    std::vector<Event> events;
  };

  struct Options {
    NodeId self;
    std::string boot_id;
    std::uint32_t nodes = 1;           // configured
    std::uint64_t first_proposal = 1;  // different after each restart of ssid: a random number
    std::uint64_t grace_ms = 10'000;   // a lost process is given up after it
    std::uint64_t sync_ms = 3'000;     // a join that takes longer is begun again
    ProcessTable::Limits limits{};
  };
  explicit TableReplica(Options options);

  // What a former ssid of this boot has saved; before the first view. Error: damaged, nothing
  // changed.
  Result<> restore(std::span<const std::uint8_t> saved);
  std::vector<std::uint8_t> save() const;

  void set_nodes(std::uint32_t configured) { options_.nodes = configured; }

  [[nodiscard]] Effects on_view(const View& view, std::uint64_t now_ms);
  // Messages that are not the table's are ignored.
  [[nodiscard]] Effects on_message(NodeId from, const group::GroupMessage& message,
                                   std::uint64_t now_ms);
  // Every second or so, and at next_tick_ms(): gives up what is lost, begins a stuck join again.
  [[nodiscard]] Effects tick(std::uint64_t now_ms);

  // Returns the number that Decided will have. A Commit is tried once, and only while established
  // (else it is decided kNoQuorum at once), in the term() in which its move began (else kStale): so
  // a target knows, when a later term is established, that the commit of an earlier one has come or
  // never will. SetDrained is tried once, likewise: nobody is surprised by it much later. Retire
  // and Claim are kept and sent again until they are decided.
  //
  // The source of a move proposes its Commit: it alone may thaw before, and has to keep the process
  // frozen from then on until Moved or Decided. Decided may be among the effects of propose()
  // itself.
  std::uint64_t propose(group::Operation operation, Effects& effects);

  bool established() const { return established_; }
  // Of quorate views: grows with each that is established. Of no meaning while there is none.
  std::uint64_t term() const { return term_; }
  // What is carried out.
  const ProcessTable& table() const { return table_; }
  std::uint64_t committed() const { return committed_; }
  // A change of this process is on its way: held by us, not yet by more than half.
  bool is_pending(SsiPid process) const;
  const View& view() const { return view_; }
  std::string to_string() const;  // one line about the state of agreement, for logs and tests

 private:
  enum class Phase { kNoView, kAwaitRequest, kAwaitReplies, kAwaitSnapshot, kReady };

  struct Proposal {
    group::Operation operation;
    bool on_its_way = false;  // sent and not come back
  };
  // One of ours that was refused on the table as we held it. It is told when an Ack sent after it
  // has come back: then there was no gap, and everybody has refused it.
  struct Refused {
    std::uint64_t proposal;
    Applied applied;
    std::uint64_t after_ack;
  };
  struct Round {
    std::uint64_t nonce = 0;
    std::uint64_t ballot = 0;
    std::map<NodeId, group::SyncReply> replies;
    NodeId model;
  };
  struct Delivered {
    NodeId from;
    group::Operation operation;
  };

  void forget_unsure(Effects& effects);
  void rebuild_tail();
  void request_sync(std::uint64_t ballot, Effects& effects);
  void on_sync_request(NodeId from, const group::SyncRequest& request, Effects& effects);
  void on_sync_reply(NodeId from, const group::SyncReply& reply, Effects& effects);
  void on_snapshot(NodeId from, const group::Snapshot& part, Effects& effects);
  void on_ack(NodeId from, const group::Ack& ack, Effects& effects);
  void on_operation(NodeId from, const group::Operation& operation, Effects& effects);
  void adopt(TableState state, Effects& effects);
  void become_ready(Effects& effects);
  void append(NodeId from, const group::Operation& operation, Effects& effects);
  void send_ack(Effects& effects);
  void on_own_ack(const group::Ack& ack, Effects& effects);
  void carry_out_to(std::uint64_t committed, Effects& effects);
  void carry_out_front(Effects& effects);
  void establish(Effects& effects);
  void decide(std::uint64_t proposal, Applied applied, Effects& effects);
  void send_proposals(Effects& effects);
  Applied judge(NodeId from, const group::Operation& operation) const;
  View judged_view() const;
  std::uint64_t held() const { return committed_ + pending_.size(); }
  bool is_lowest() const {
    return !view_.members.empty() && view_.members.front() == options_.self;
  }

  Options options_;
  std::uint64_t now_ms_ = 0;
  View view_;
  Phase phase_ = Phase::kNoView;
  bool quorate_ = false;  // agreed by the members with the replies
  bool established_ = false;
  std::uint64_t phase_since_ms_ = 0;

  // The log: committed_ operations are in table_, pending_ follow, and tail_ is table_ with them.
  ProcessTable table_;
  ProcessTable tail_;
  std::uint64_t committed_ = 0;
  std::deque<group::PendingOperation> pending_;
  std::uint64_t term_ = 0;
  std::uint64_t promised_ = 0;  // the highest ballot seen
  std::uint64_t sure_ = 0;      // held for certain: without a gap
  std::uint64_t boots_at_ = 0;  // the position of this term's Boots
  std::map<NodeId, std::uint64_t> acked_;
  std::uint64_t acks_sent_ = 0;  // of this term
  std::uint64_t acks_back_ = 0;
  std::vector<Refused> refused_;

  Round round_;
  std::uint64_t last_nonce_ = 0;
  SnapshotReader snapshot_;
  std::vector<Delivered> waiting_;

  std::uint64_t last_proposal_;
  std::map<std::uint64_t, Proposal> proposals_;
};

}  // namespace ssi
