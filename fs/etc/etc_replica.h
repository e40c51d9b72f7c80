// One member's copy of /cluster/etc, and how all copies stay equal, over partitions and over a
// restart of every node.
//
// The way is that of the process table (ssid/registry/table_replica.h, where the reasons stand): a
// change that the group delivers is judged on the files with all pending changes, held, and carried
// out when more than half of the configured nodes have acknowledged that they hold it; after that
// every later quorate view has a member that holds it, and the copy that holds most (latest term,
// then most changes, then the lowest node) is everybody's. What is other than there:
//
//   "hold" means on the disk: the owner of an EtcReplica writes save() durably *before* it sends
//   what the same Effects say. So what was carried out survives a power cut of all nodes at once.
//
//   A change is written to the disk only when it is sure to stand at its place: when a message that
//   was sent because of it (Ack, not durable) has come back in the same view, it was not behind a
//   gap. One round more, for nobody could tell such a change from a true one after a restart. (The
//   chaos test found it: one gap in 1500 runs of 30 s was on a disk when its node died.)
//
//       change delivered -> Ack out -> back: save -> durable Ack out -> of more than half: done
//
//   A change counts only in the term in which it was proposed, and a node has one under way at a
//   time. A node that lost sight of its own finds it in `done` (the last one of each node), so
//   that the writer nearly always learns what became of it: kDone, or refused. kUnsure is left for
//   a writer whose node is without quorum now.
//
// Pure: `now` is passed in, effects are returned. One per ssid, one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/etc/shared_files.h"
#include "ssid/cluster/cluster.h"
#include "ssid/wire/etc/etc_codec.h"

namespace ssi {

class EtcReplica {
 public:
  // To be done in this order: save, send, tell.
  struct Effects {
    bool save = false;  // make save() durable before anything of `send` goes out
    std::vector<etc::Message> send;
    bool changed = false;               // files() are other files than before
    std::optional<EtcOutcome> decided;  // what became of the change under way
  };

  struct Options {
    NodeId self;
    std::uint32_t nodes = 1;           // configured
    std::uint64_t first_proposal = 1;  // different after each restart of ssid: a random number
    std::uint64_t sync_ms = 3'000;     // a join that takes longer is begun again
  };
  explicit EtcReplica(Options options);

  // What a former ssid has saved; before the first view. Error: damaged, nothing changed.
  Result<> restore(std::span<const std::uint8_t> saved);
  std::vector<std::uint8_t> save() const;

  void set_nodes(std::uint32_t configured) { options_.nodes = configured; }

  [[nodiscard]] Effects on_view(const View& view, std::uint64_t now_ms);
  [[nodiscard]] Effects on_message(NodeId from, const etc::Message& message, std::uint64_t now_ms);
  // Every second or so: begins a stuck join again.
  [[nodiscard]] Effects tick(std::uint64_t now_ms);

  // Only while none is under way. Decided exactly once, perhaps at once (kNoQuorum).
  [[nodiscard]] Effects propose(etc::Change change);
  bool under_way() const { return own_.has_value(); }
  // The owner does not wait for it any longer: it may be decided or not, nobody is told.
  void give_up() { own_.reset(); }

  // The files are those of a quorate view, and changes are possible.
  bool established() const { return established_; }
  // What is carried out.
  const SharedFiles& files() const { return files_; }
  std::uint64_t committed() const { return committed_; }
  std::uint64_t term() const { return term_; }
  std::uint64_t history() const { return history_; }  // hash over what is carried out
  std::string to_string() const;  // one line about the state of agreement, for logs and tests

 private:
  enum class Phase { kNoView, kAwaitRequest, kAwaitReplies, kAwaitSnapshot, kReady };

  // Our change. Refused on the files as we hold them: told when an Ack sent after it has come back;
  // then there was no gap, and everybody has refused it.
  struct Own {
    std::uint64_t proposal = 0;
    std::optional<EtcOutcome> refused;
    std::uint64_t after_ack = 0;
  };
  struct Round {
    std::uint64_t nonce = 0;
    std::uint64_t ballot = 0;
    std::map<NodeId, etc::SyncReply> replies;
    NodeId model;
  };

  void forget_unsure();
  void rebuild_tail();
  void request_sync(std::uint64_t ballot, Effects& effects);
  void on_sync_request(NodeId from, const etc::SyncRequest& request, Effects& effects);
  void on_sync_reply(NodeId from, const etc::SyncReply& reply, Effects& effects);
  void on_snapshot(NodeId from, const etc::Snapshot& snapshot, Effects& effects);
  void adopt(etc::State state, Effects& effects);
  void become_ready(Effects& effects);
  void on_change(NodeId from, const etc::Change& change, Effects& effects);
  void append(const etc::Change& change, Effects& effects);
  void send_ack(Effects& effects);
  void on_own_ack(const etc::Ack& ack, Effects& effects);
  void on_ack(NodeId from, const etc::Ack& ack, Effects& effects);
  void carry_out_front(Effects& effects);
  void settle_own(Effects& effects);
  void decide(EtcOutcome outcome, Effects& effects);
  etc::State state() const;
  std::uint32_t nodes_of_round() const;
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

  // committed_ changes are in files_, pending_ follow, and tail_ is files_ with them.
  SharedFiles files_;
  SharedFiles tail_;
  std::uint64_t committed_ = 0;
  std::uint64_t history_ = 0;       // over the committed ones
  std::uint64_t tail_history_ = 0;  // over all that is held
  std::map<NodeId, std::uint64_t> done_;
  std::deque<etc::Change> pending_;
  std::uint64_t term_ = 0;
  std::uint64_t promised_ = 0;   // the highest ballot seen
  std::uint64_t sure_ = 0;       // stands at its place for certain; on the disk, or on its way
  std::uint64_t begins_at_ = 0;  // the place of this term's kBeginTerm
  std::map<NodeId, std::uint64_t> acked_;
  std::uint64_t acks_sent_ = 0;  // of this term, not durable ones
  std::uint64_t acks_back_ = 0;

  Round round_;
  std::uint64_t last_nonce_;
  std::vector<std::pair<NodeId, etc::Change>> waiting_;  // until the join is done

  std::uint64_t last_proposal_;
  std::optional<Own> own_;
};

}  // namespace ssi
