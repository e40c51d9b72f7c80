#include "fs/etc/etc_replica.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <tuple>

#include "ssid/base/check.h"

namespace ssi {

using etc::Change;
using etc::Kind;

namespace {

SharedFiles files_of(const etc::State& state) {
  SharedFiles files;
  files.restore({state.files.begin(), state.files.end()});
  return files;
}

// Whether its pending changes can be carried out on its files.
bool is_consistent(const etc::State& state) {
  SharedFiles files = files_of(state);
  std::uint64_t place = state.committed;
  for (const Change& change : state.pending) {
    if (files.judge(change) != EtcOutcome::kDone) return false;
    files.apply(change, ++place);
  }
  return true;
}

}  // namespace

EtcReplica::EtcReplica(Options options)
    : options_(options),
      last_nonce_(options.first_proposal),
      last_proposal_(options.first_proposal) {
  SSI_CHECK(options_.self);
}

// ---- views and the join

EtcReplica::Effects EtcReplica::on_view(const View& view, std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  view_ = view;
  quorate_ = false;
  established_ = false;
  acked_.clear();
  waiting_.clear();
  if (own_) own_->refused.reset();  // in doubt now; known when a term is established
  round_ = {};
  phase_ = view.members.empty() ? Phase::kNoView : Phase::kAwaitRequest;
  phase_since_ms_ = now_ms;
  if (is_lowest()) request_sync(promised_ + 1, effects);
  return effects;
}

// What may have come behind a gap: it is in nobody's count and on no disk of ours.
void EtcReplica::forget_unsure() {
  const std::uint64_t keep = std::max(sure_, committed_);
  if (held() <= keep) return;
  while (held() > keep) pending_.pop_back();
  rebuild_tail();
}

void EtcReplica::rebuild_tail() {
  tail_ = files_;
  tail_history_ = history_;
  std::uint64_t place = committed_;
  for (const Change& change : pending_) {
    tail_.apply(change, ++place);
    tail_history_ = history_after(tail_history_, change);
  }
}

void EtcReplica::request_sync(std::uint64_t ballot, Effects& effects) {
  phase_since_ms_ = now_ms_;
  effects.send.push_back(etc::SyncRequest{.nonce = ++last_nonce_, .ballot = ballot});
}

void EtcReplica::on_sync_request(NodeId from, const etc::SyncRequest& request, Effects& effects) {
  if (from != view_.members.front()) return;  // the lowest of another view, a while ago
  forget_unsure();
  established_ = false;
  quorate_ = false;
  acked_.clear();
  if (own_) own_->refused.reset();
  round_ = {.nonce = request.nonce, .ballot = request.ballot, .replies = {}, .model = {}};
  phase_ = Phase::kAwaitReplies;
  phase_since_ms_ = now_ms_;
  const std::uint64_t promised = promised_;
  promised_ = std::max(promised_, request.ballot);
  effects.save = true;
  effects.send.push_back(etc::SyncReply{.nonce = request.nonce,
                                        .ballot = request.ballot,
                                        .promised = promised,
                                        .term = term_,
                                        .held = held(),
                                        .history = tail_history_,
                                        .nodes = options_.nodes});
}

void EtcReplica::on_sync_reply(NodeId from, const etc::SyncReply& reply, Effects& effects) {
  if (phase_ != Phase::kAwaitReplies || reply.nonce != round_.nonce ||
      reply.ballot != round_.ballot || !view_.has(from)) {
    return;
  }
  round_.replies[from] = reply;
  if (round_.replies.size() < view_.members.size()) return;

  std::uint64_t promised = 0;
  for (const auto& [node, r] : round_.replies) promised = std::max(promised, r.promised);
  if (promised >= round_.ballot) {
    phase_ = Phase::kAwaitRequest;
    if (is_lowest()) request_sync(promised + 1, effects);
    return;
  }
  const auto rank = [](const etc::SyncReply& r) { return std::tuple(r.term, r.held); };
  const auto model = std::max_element(
      round_.replies.begin(), round_.replies.end(),
      [&](const auto& a, const auto& b) { return rank(a.second) < rank(b.second); });
  round_.model = model->first;
  const bool equal = std::all_of(round_.replies.begin(), round_.replies.end(), [&](const auto& r) {
    return rank(r.second) == rank(model->second) && r.second.history == model->second.history;
  });
  if (equal) return become_ready(effects);
  phase_ = Phase::kAwaitSnapshot;
  if (round_.model != options_.self) return;
  effects.send.push_back(
      etc::Snapshot{.nonce = round_.nonce, .ballot = round_.ballot, .state = state()});
}

void EtcReplica::on_snapshot(NodeId from, const etc::Snapshot& snapshot, Effects& effects) {
  if (phase_ != Phase::kAwaitSnapshot || from != round_.model || snapshot.nonce != round_.nonce ||
      snapshot.ballot != round_.ballot) {
    return;
  }
  const etc::SyncReply& model = round_.replies.at(round_.model);
  const etc::SyncReply& own = round_.replies.at(options_.self);
  const etc::State& state = snapshot.state;
  // Not so: tick() begins again.
  if (state.committed + state.pending.size() != model.held || !is_consistent(state)) return;
  if (std::tuple(own.term, own.held, own.history) !=
      std::tuple(model.term, model.held, model.history)) {
    adopt(state, effects);
    term_ = model.term;
  }
  become_ready(effects);
}

void EtcReplica::adopt(etc::State state, Effects& effects) {
  const SharedFiles before = files_;
  files_ = files_of(state);
  done_ = {state.done.begin(), state.done.end()};
  history_ = state.history;
  const std::uint64_t was_committed = committed_;
  committed_ = state.committed;
  pending_.assign(std::make_move_iterator(state.pending.begin()),
                  std::make_move_iterator(state.pending.end()));
  // The model may know of fewer changes that they are carried out than we do; we have told of ours.
  while (committed_ < was_committed && !pending_.empty()) carry_out_front(effects);
  rebuild_tail();
  if (!(files_ == before)) effects.changed = true;
  effects.save = true;
}

std::uint32_t EtcReplica::nodes_of_round() const {
  std::uint32_t nodes = 0;
  for (const auto& [node, reply] : round_.replies) nodes = std::max(nodes, reply.nodes);
  return nodes;
}

void EtcReplica::become_ready(Effects& effects) {
  phase_ = Phase::kReady;
  sure_ = held();
  quorate_ = view_.members.size() * 2 > nodes_of_round();
  if (quorate_) {
    term_ = round_.ballot;
    acks_sent_ = 0;
    acks_back_ = 0;
    begins_at_ = held() + 1;
    append({.kind = Kind::kBeginTerm,
            .name = "",
            .to = "",
            .contents = "",
            .sender = view_.members.front(),
            .proposal = 0,
            .term = term_},
           effects);
  } else {
    decide(EtcOutcome::kUnsure, effects);
  }
  const auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& [from, change] : waiting) on_change(from, change, effects);
}

// ---- changes

EtcReplica::Effects EtcReplica::on_message(NodeId from, const etc::Message& message,
                                           std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  if (phase_ == Phase::kNoView) return effects;
  if (const auto* request = std::get_if<etc::SyncRequest>(&message)) {
    on_sync_request(from, *request, effects);
  } else if (const auto* reply = std::get_if<etc::SyncReply>(&message)) {
    on_sync_reply(from, *reply, effects);
  } else if (const auto* snapshot = std::get_if<etc::Snapshot>(&message)) {
    on_snapshot(from, *snapshot, effects);
  } else if (const auto* ack = std::get_if<etc::Ack>(&message)) {
    on_ack(from, *ack, effects);
  } else if (const auto* change = std::get_if<Change>(&message)) {
    on_change(from, *change, effects);
  }
  return effects;
}

void EtcReplica::on_change(NodeId from, const Change& change, Effects& effects) {
  if (change.sender != from || change.kind == Kind::kBeginTerm) return;  // a forgery
  if (phase_ != Phase::kReady) {
    waiting_.emplace_back(from, change);
    return;
  }
  // One of an earlier term comes too late, everywhere.
  const bool late = !quorate_ || change.term != term_;
  const EtcOutcome outcome = late ? EtcOutcome::kNoQuorum : tail_.judge(change);
  if (outcome == EtcOutcome::kDone) return append(change, effects);
  const bool ours = from == options_.self && own_ && own_->proposal == change.proposal;
  if (!ours || !quorate_) return;  // ours without quorum: become_ready() has told
  send_ack(effects);
  own_->refused = outcome;
  own_->after_ack = acks_sent_;
}

void EtcReplica::append(const Change& change, Effects& effects) {
  pending_.push_back(change);
  tail_.apply(change, held());
  tail_history_ = history_after(tail_history_, change);
  send_ack(effects);
}

void EtcReplica::send_ack(Effects& effects) {
  ++acks_sent_;
  effects.send.push_back(etc::Ack{.term = term_, .held = held(), .durable = false});
}

void EtcReplica::on_own_ack(const etc::Ack& ack, Effects& effects) {
  ++acks_back_;
  if (own_ && own_->refused && own_->after_ack <= acks_back_) decide(*own_->refused, effects);
  if (ack.held <= sure_) return;
  sure_ = ack.held;
  effects.save = true;
  effects.send.push_back(etc::Ack{.term = term_, .held = sure_, .durable = true});
}

void EtcReplica::on_ack(NodeId from, const etc::Ack& ack, Effects& effects) {
  if (phase_ != Phase::kReady || !quorate_ || ack.term != term_ || !view_.has(from)) return;
  if (!ack.durable) {
    if (from == options_.self) on_own_ack(ack, effects);
    return;
  }
  std::uint64_t& acked = acked_[from];
  acked = std::max(acked, ack.held);
  const std::size_t majority = nodes_of_round() / 2 + 1;
  if (acked_.size() < majority) return;
  std::vector<std::uint64_t> held_by;
  for (const auto& [node, place] : acked_) held_by.push_back(place);
  std::sort(held_by.rbegin(), held_by.rend());
  const std::uint64_t committed = std::min(held_by[majority - 1], held());
  while (committed_ < committed) carry_out_front(effects);
  if (!established_ && committed_ >= begins_at_) {
    established_ = true;
    settle_own(effects);
  }
}

void EtcReplica::carry_out_front(Effects& effects) {
  const Change change = std::move(pending_.front());
  pending_.pop_front();
  ++committed_;
  files_.apply(change, committed_);
  history_ = history_after(history_, change);
  if (change.kind == Kind::kBeginTerm) return;
  done_[change.sender] = change.proposal;
  effects.changed = true;
  if (change.sender == options_.self && own_ && own_->proposal == change.proposal) {
    decide(EtcOutcome::kDone, effects);
  }
}

// The files are known again: what became of ours, of which we lost sight? One that is held will be
// carried out in its turn; any other is of an earlier term, and refused everywhere.
void EtcReplica::settle_own(Effects& effects) {
  if (!own_ || own_->refused) return;
  const auto done = done_.find(options_.self);
  if (done != done_.end() && done->second == own_->proposal) {
    return decide(EtcOutcome::kDone, effects);
  }
  const bool is_held = std::any_of(pending_.begin(), pending_.end(), [&](const Change& change) {
    return change.sender == options_.self && change.proposal == own_->proposal;
  });
  if (!is_held) decide(EtcOutcome::kNoQuorum, effects);
}

void EtcReplica::decide(EtcOutcome outcome, Effects& effects) {
  if (!own_) return;
  own_.reset();
  effects.decided = outcome;
}

EtcReplica::Effects EtcReplica::propose(Change change) {
  SSI_CHECK(!own_ && change.kind != Kind::kBeginTerm);
  Effects effects;
  if (!established_) {
    effects.decided = EtcOutcome::kNoQuorum;
    return effects;
  }
  change.sender = options_.self;
  change.proposal = ++last_proposal_;
  change.term = term_;
  own_ = Own{.proposal = change.proposal, .refused = {}, .after_ack = 0};
  effects.send.push_back(std::move(change));
  return effects;
}

EtcReplica::Effects EtcReplica::tick(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  const bool joining = phase_ == Phase::kAwaitRequest || phase_ == Phase::kAwaitReplies ||
                       phase_ == Phase::kAwaitSnapshot;
  if (joining && is_lowest() && now_ms >= phase_since_ms_ + options_.sync_ms) {
    request_sync(promised_ + 1, effects);
  }
  return effects;
}

// ---- over a restart

etc::State EtcReplica::state() const {
  etc::State state;
  state.committed = committed_;
  state.history = history_;
  state.files = {files_.all().begin(), files_.all().end()};
  state.done = {done_.begin(), done_.end()};
  state.pending = {pending_.begin(), pending_.end()};
  return state;
}

std::vector<std::uint8_t> EtcReplica::save() const {
  etc::State sure = state();
  sure.pending.resize(std::max(sure_, committed_) - committed_);
  return etc::encode(etc::Saved{.term = term_, .promised = promised_, .state = std::move(sure)});
}

Result<> EtcReplica::restore(std::span<const std::uint8_t> saved) {
  SSI_CHECK(phase_ == Phase::kNoView && held() == 0);
  SSI_ASSIGN(auto message, etc::decode(saved));
  auto* found = std::get_if<etc::Saved>(&message);
  if (found == nullptr || !is_consistent(found->state)) {
    return Error(ErrorCode::kRefused, "state of /cluster/etc: not one that was saved");
  }
  Effects ignored;
  adopt(std::move(found->state), ignored);
  term_ = found->term;
  promised_ = found->promised;
  sure_ = held();
  return {};
}

std::string EtcReplica::to_string() const {
  static constexpr const char* kPhases[] = {"no view", "await request", "await replies",
                                            "await snapshot", "ready"};
  std::ostringstream out;
  out << "node " << options_.self.value << ": " << kPhases[static_cast<int>(phase_)] << ", term "
      << term_ << ", promised " << promised_ << ", carried out " << committed_ << ", pending "
      << pending_.size() << (quorate_ ? ", quorate" : "") << (established_ ? ", established" : "")
      << (own_ ? ", one under way" : "") << ", view";
  for (const NodeId node : view_.members) out << " " << node.value;
  return out.str();
}

}  // namespace ssi
