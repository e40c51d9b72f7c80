#include "ssid/registry/table_replica.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <sstream>
#include <tuple>

namespace ssi {
namespace {

std::uint64_t proposal_of(const group::Operation& operation) {
  struct Get {
    std::uint64_t operator()(const group::Commit& m) const { return m.proposal; }
    std::uint64_t operator()(const group::Retire& m) const { return m.proposal; }
    std::uint64_t operator()(const group::Claim& m) const { return m.proposal; }
    std::uint64_t operator()(const group::Boots&) const { return 0; }
    std::uint64_t operator()(const group::SetDrained& m) const { return m.proposal; }
  };
  return std::visit(Get{}, operation);
}

void set_proposal(group::Operation& operation, std::uint64_t proposal) {
  if (auto* commit = std::get_if<group::Commit>(&operation)) commit->proposal = proposal;
  if (auto* retire = std::get_if<group::Retire>(&operation)) retire->proposal = proposal;
  if (auto* claim = std::get_if<group::Claim>(&operation)) claim->proposal = proposal;
  if (auto* drained = std::get_if<group::SetDrained>(&operation)) drained->proposal = proposal;
}

// The term in which it counts, if it is tried only once; nullopt: it is tried until it is decided.
std::optional<std::uint64_t> only_term_of(const group::Operation& operation) {
  if (const auto* commit = std::get_if<group::Commit>(&operation)) return commit->term;
  if (const auto* drained = std::get_if<group::SetDrained>(&operation)) return drained->term;
  return std::nullopt;
}

bool tried_once(const group::Operation& operation) { return only_term_of(operation).has_value(); }

SsiPid process_of(const group::Operation& operation) {
  struct Get {
    SsiPid operator()(const group::Commit& m) const { return m.process; }
    SsiPid operator()(const group::Retire& m) const { return m.process; }
    SsiPid operator()(const group::Claim& m) const { return m.entry.process; }
    SsiPid operator()(const group::Boots&) const { return {}; }
    SsiPid operator()(const group::SetDrained&) const { return {}; }
  };
  return std::visit(Get{}, operation);
}

bool concerns(const group::Operation& operation, SsiPid process) {
  if (process_of(operation) == process) return true;
  const auto* commit = std::get_if<group::Commit>(&operation);
  return commit && commit->process.home == process.home &&
         std::ranges::find(commit->members, process.pid, &group::Member::pid) !=
             commit->members.end();
}

group::GroupMessage message_of(const group::Operation& operation) {
  if (const auto* commit = std::get_if<group::Commit>(&operation)) return *commit;
  if (const auto* retire = std::get_if<group::Retire>(&operation)) return *retire;
  if (const auto* drained = std::get_if<group::SetDrained>(&operation)) return *drained;
  return std::get<group::Claim>(operation);
}

// Whether an operation of ours, of which we lost sight, has been carried out after all.
bool has_happened(const ProcessTable& table, const group::Operation& operation) {
  if (const auto* commit = std::get_if<group::Commit>(&operation)) {
    if (const auto* entry = table.find(commit->process)) {
      if (entry->start_time != commit->start_time) return false;
      return entry->epoch > commit->epoch ||
             (entry->epoch == commit->epoch && entry->where == commit->to);
    }
    const auto* dead = table.find_tombstone(commit->process);
    return dead && dead->start_time == commit->start_time && dead->epoch >= commit->epoch;
  }
  if (const auto* retire = std::get_if<group::Retire>(&operation)) {
    const auto* dead = table.find_tombstone(retire->process);
    return dead && dead->start_time == retire->start_time && dead->epoch == retire->epoch;
  }
  if (const auto* drained = std::get_if<group::SetDrained>(&operation)) {
    return table.drained().contains(drained->node) == drained->drained;
  }
  const auto& claim = std::get<group::Claim>(operation);
  const auto* entry = table.find(claim.entry.process);
  return entry && entry->start_time == claim.entry.start_time &&
         entry->epoch == claim.entry.epoch && entry->where == claim.entry.where;
}

}  // namespace

TableReplica::TableReplica(Options options)
    : options_(std::move(options)),
      table_(options_.limits),
      tail_(options_.limits),
      last_nonce_(options_.first_proposal),
      last_proposal_(options_.first_proposal) {
  SSI_CHECK(options_.self);
}

// ---- views and the join

TableReplica::Effects TableReplica::on_view(const View& view, std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  if (view.members.empty()) {
    // Out of the group: acks of ours may have been counted that did not come back, so nothing is
    // forgotten; and what we sent does not come back any more.
    for (auto& [number, proposal] : proposals_) proposal.on_its_way = false;
  } else if (!view_.members.empty()) {
    forget_unsure(effects);
  }
  view_ = view;
  quorate_ = false;
  established_ = false;
  acked_.clear();
  refused_.clear();  // in doubt now; known when a term is established
  waiting_.clear();
  round_ = {};
  phase_ = view.members.empty() ? Phase::kNoView : Phase::kAwaitRequest;
  phase_since_ms_ = now_ms;
  table_.on_view(view_, now_ms_, options_.grace_ms);
  if (is_lowest()) request_sync(promised_ + 1, effects);
  return effects;
}

void TableReplica::forget_unsure(Effects& effects) {
  const std::uint64_t keep = std::max(sure_, committed_);
  if (held() <= keep) return;
  effects.save = true;  // should we die now, the next ssid must not take them for sure
  while (held() > keep) pending_.pop_back();
  rebuild_tail();
}

void TableReplica::rebuild_tail() {
  tail_ = table_;
  for (const auto& pending : pending_) tail_.carry_out(pending.operation);
}

void TableReplica::request_sync(std::uint64_t ballot, Effects& effects) {
  phase_since_ms_ = now_ms_;
  effects.send.push_back(group::SyncRequest{.nonce = ++last_nonce_, .ballot = ballot});
}

void TableReplica::on_sync_request(NodeId from, const group::SyncRequest& request,
                                   Effects& effects) {
  if (from != view_.members.front()) return;  // the lowest of another view, a while ago
  established_ = false;
  quorate_ = false;
  acked_.clear();
  refused_.clear();
  round_ = {.nonce = request.nonce, .ballot = request.ballot, .replies = {}, .model = {}};
  snapshot_ = {};
  phase_ = Phase::kAwaitReplies;
  phase_since_ms_ = now_ms_;
  const std::uint64_t promised = promised_;
  promised_ = std::max(promised_, request.ballot);
  effects.save = true;
  effects.send.push_back(group::SyncReply{.nonce = request.nonce,
                                          .ballot = request.ballot,
                                          .promised = promised,
                                          .term = term_,
                                          .held = held(),
                                          .boot_id = options_.boot_id,
                                          .nodes = options_.nodes});
}

void TableReplica::on_sync_reply(NodeId from, const group::SyncReply& reply, Effects& effects) {
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
  const auto rank = [](const group::SyncReply& r) { return std::tuple(r.term, r.held); };
  const auto model = std::max_element(
      round_.replies.begin(), round_.replies.end(),
      [&](const auto& a, const auto& b) { return rank(a.second) < rank(b.second); });
  round_.model = model->first;
  const bool equal = std::all_of(round_.replies.begin(), round_.replies.end(), [&](const auto& r) {
    return rank(r.second) == rank(model->second);
  });
  if (equal) return become_ready(effects);
  phase_ = Phase::kAwaitSnapshot;
  if (round_.model != options_.self) return;
  for (auto& part : cut_snapshot(table_, committed_, pending_, round_.nonce, round_.ballot)) {
    effects.send.push_back(std::move(part));
  }
}

void TableReplica::on_snapshot(NodeId from, const group::Snapshot& part, Effects& effects) {
  if (phase_ != Phase::kAwaitSnapshot || from != round_.model || part.nonce != round_.nonce ||
      part.ballot != round_.ballot) {
    return;
  }
  auto state = snapshot_.add(part);
  if (!state) return;
  const group::SyncReply& model = round_.replies.at(round_.model);
  const group::SyncReply& own = round_.replies.at(options_.self);
  if (state->committed + state->pending.size() != model.held) return;  // tick() begins again
  if (std::tuple(own.term, own.held) != std::tuple(model.term, model.held)) {
    adopt(std::move(*state), effects);
    term_ = model.term;
  }
  become_ready(effects);
}

void TableReplica::adopt(TableState state, Effects& effects) {
  ProcessTable table(options_.limits);
  table.restore(std::move(state.entries), std::move(state.tombstones), std::move(state.boots),
                state.drained);
  std::uint64_t committed = state.committed;
  pending_.assign(std::make_move_iterator(state.pending.begin()),
                  std::make_move_iterator(state.pending.end()));
  // The model may know of fewer operations that they are carried out than we do; we have acted on
  // ours.
  while (committed < committed_ && !pending_.empty()) {
    table.carry_out(pending_.front().operation);
    pending_.pop_front();
    ++committed;
  }
  if (!table.same_as(table_)) effects.events.push_back(Replaced{});
  table_ = std::move(table);
  committed_ = committed;
  rebuild_tail();
  effects.save = true;
}

void TableReplica::become_ready(Effects& effects) {
  phase_ = Phase::kReady;
  sure_ = held();
  std::uint32_t nodes = 0;
  for (const auto& [node, reply] : round_.replies) nodes = std::max(nodes, reply.nodes);
  quorate_ = view_.members.size() * 2 > nodes;
  if (quorate_) {
    term_ = round_.ballot;
    acks_sent_ = 0;
    acks_back_ = 0;
    boots_at_ = held() + 1;
    group::Boots boots;
    for (const auto& [node, reply] : round_.replies) boots.boots.push_back({node, reply.boot_id});
    append(view_.members.front(), boots, effects);
  }
  table_.on_view(view_, now_ms_, options_.grace_ms);
  const auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& [from, operation] : waiting) on_operation(from, operation, effects);
  if (!quorate_) send_proposals(effects);
}

// ---- operations

TableReplica::Effects TableReplica::on_message(NodeId from, const group::GroupMessage& message,
                                               std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  if (phase_ == Phase::kNoView) return effects;
  if (const auto* request = std::get_if<group::SyncRequest>(&message)) {
    on_sync_request(from, *request, effects);
  } else if (const auto* reply = std::get_if<group::SyncReply>(&message)) {
    on_sync_reply(from, *reply, effects);
  } else if (const auto* part = std::get_if<group::Snapshot>(&message)) {
    on_snapshot(from, *part, effects);
  } else if (const auto* ack = std::get_if<group::Ack>(&message)) {
    on_ack(from, *ack, effects);
  } else if (const auto* commit = std::get_if<group::Commit>(&message)) {
    on_operation(from, *commit, effects);
  } else if (const auto* retire = std::get_if<group::Retire>(&message)) {
    on_operation(from, *retire, effects);
  } else if (const auto* claim = std::get_if<group::Claim>(&message)) {
    on_operation(from, *claim, effects);
  } else if (const auto* drained = std::get_if<group::SetDrained>(&message)) {
    on_operation(from, *drained, effects);
  }
  return effects;
}

View TableReplica::judged_view() const {
  View view = view_;
  view.quorate = quorate_;
  return view;
}

Applied TableReplica::judge(NodeId from, const group::Operation& operation) const {
  const View view = judged_view();
  // One that was on its way when the view changed comes too late, everywhere: so both sides of a
  // move know, as soon as the new term is established, that it will not come any more.
  if (quorate_ && only_term_of(operation).value_or(term_) != term_) return Applied::kStale;
  if (const auto* commit = std::get_if<group::Commit>(&operation)) {
    return tail_.judge(*commit, view);
  }
  if (const auto* drained = std::get_if<group::SetDrained>(&operation)) {
    return tail_.judge(*drained, view);
  }
  if (const auto* retire = std::get_if<group::Retire>(&operation)) {
    return tail_.judge(*retire, from, view);
  }
  return tail_.judge(std::get<group::Claim>(operation), from, view);
}

void TableReplica::on_operation(NodeId from, const group::Operation& operation, Effects& effects) {
  const auto own =
      from == options_.self ? proposals_.find(proposal_of(operation)) : proposals_.end();
  if (own != proposals_.end()) own->second.on_its_way = false;
  if (phase_ != Phase::kReady) {
    waiting_.push_back({from, operation});
    return;
  }
  const Applied applied = judge(from, operation);
  if (applied == Applied::kAccepted) return append(from, operation, effects);

  if (const auto* retire = std::get_if<group::Retire>(&operation); retire && !quorate_) {
    const auto* entry = tail_.find(retire->process);
    if (entry && entry->where == from && entry->epoch == retire->epoch &&
        entry->start_time == retire->start_time) {
      effects.events.push_back(EndedUnconfirmed{*retire});
    }
  }
  if (own == proposals_.end()) return;
  // Stale because of a first attempt of the same that is pending: that one decides.
  if (!tried_once(operation) && (applied == Applied::kNoQuorum || has_happened(tail_, operation))) {
    if (has_happened(table_, operation)) decide(own->first, Applied::kAccepted, effects);
    return;
  }
  if (!quorate_) return decide(own->first, applied, effects);
  send_ack(effects);
  refused_.push_back({own->first, applied, acks_sent_});
}

void TableReplica::append(NodeId from, const group::Operation& operation, Effects& effects) {
  tail_.carry_out(operation);
  pending_.push_back({.sender = from, .operation = operation});
  effects.save = true;
  send_ack(effects);
}

void TableReplica::send_ack(Effects& effects) {
  ++acks_sent_;
  effects.send.push_back(group::Ack{.term = term_, .held = held()});
}

void TableReplica::on_own_ack(const group::Ack& ack, Effects& effects) {
  sure_ = std::max(sure_, ack.held);
  ++acks_back_;
  while (!refused_.empty() && refused_.front().after_ack <= acks_back_) {
    const Refused refused = refused_.front();
    refused_.erase(refused_.begin());
    decide(refused.proposal, refused.applied, effects);
  }
}

void TableReplica::on_ack(NodeId from, const group::Ack& ack, Effects& effects) {
  if (phase_ != Phase::kReady || !quorate_ || ack.term != term_ || !view_.has(from)) return;
  std::uint64_t& acked = acked_[from];
  acked = std::max(acked, ack.held);
  if (from == options_.self) on_own_ack(ack, effects);

  std::uint32_t nodes = 0;
  for (const auto& [node, reply] : round_.replies) nodes = std::max(nodes, reply.nodes);
  const std::size_t majority = nodes / 2 + 1;
  if (acked_.size() < majority) return;
  std::vector<std::uint64_t> held_by;
  for (const auto& [node, position] : acked_) held_by.push_back(position);
  std::sort(held_by.rbegin(), held_by.rend());
  carry_out_to(std::min(held_by[majority - 1], held()), effects);
}

void TableReplica::carry_out_to(std::uint64_t committed, Effects& effects) {
  if (committed <= committed_) return;
  effects.save = true;
  while (committed_ < committed) carry_out_front(effects);
  if (!established_ && committed_ >= boots_at_) establish(effects);
}

void TableReplica::carry_out_front(Effects& effects) {
  const group::PendingOperation front = std::move(pending_.front());
  pending_.pop_front();
  ++committed_;
  if (const auto* commit = std::get_if<group::Commit>(&front.operation)) {
    effects.events.push_back(Moved{*commit});
  } else if (const auto* retire = std::get_if<group::Retire>(&front.operation)) {
    const auto* entry = table_.find(retire->process);
    effects.events.push_back(Ended{*retire, entry ? TableEntry(*entry) : TableEntry{}});
  } else if (const auto* claim = std::get_if<group::Claim>(&front.operation)) {
    effects.events.push_back(Claimed{claim->entry});
  } else if (const auto* drained = std::get_if<group::SetDrained>(&front.operation)) {
    effects.events.push_back(Drained{drained->node, drained->drained});
  }
  table_.carry_out(front.operation);
  if (std::holds_alternative<group::Boots>(front.operation)) {
    table_.on_view(view_, now_ms_, options_.grace_ms);
  } else {
    table_.on_view(process_of(front.operation), view_, now_ms_, options_.grace_ms);
    if (const auto* commit = std::get_if<group::Commit>(&front.operation)) {
      for (const group::Member& m : commit->members) {
        table_.on_view({commit->process.home, m.pid}, view_, now_ms_, options_.grace_ms);
      }
    }
  }
  if (front.sender == options_.self) {
    decide(proposal_of(front.operation), Applied::kAccepted, effects);
  }
  // The same may have been proposed by another member, and come first.
  std::vector<std::uint64_t> done;
  for (const auto& [number, proposal] : proposals_) {
    if (!proposal.on_its_way && !tried_once(proposal.operation) &&
        process_of(proposal.operation) == process_of(front.operation) &&
        has_happened(table_, proposal.operation)) {
      done.push_back(number);
    }
  }
  for (const std::uint64_t number : done) decide(number, Applied::kAccepted, effects);
}

void TableReplica::establish(Effects& effects) {
  established_ = true;
  effects.events.push_back(Established{});
  send_proposals(effects);
}

// ---- proposals

std::uint64_t TableReplica::propose(group::Operation operation, Effects& effects) {
  SSI_CHECK(!std::holds_alternative<group::Boots>(operation));
  const std::uint64_t number = ++last_proposal_;
  set_proposal(operation, number);
  const bool once = tried_once(operation);
  if (only_term_of(operation).value_or(term_) != term_) {
    proposals_[number] = {.operation = std::move(operation), .on_its_way = false};
    decide(number, Applied::kStale, effects);
    return number;
  }
  const bool send = established_ || (!once && phase_ == Phase::kReady && !quorate_);
  if (send) effects.send.push_back(message_of(operation));
  proposals_[number] = {.operation = std::move(operation), .on_its_way = send};
  if (!send && once) decide(number, Applied::kNoQuorum, effects);
  return number;
}

void TableReplica::decide(std::uint64_t proposal, Applied applied, Effects& effects) {
  const auto found = proposals_.find(proposal);
  if (found == proposals_.end()) return;
  effects.events.push_back(Decided{proposal, applied, std::move(found->second.operation)});
  proposals_.erase(found);
}

// Now that the table is known again: what became of ours, and what is to be sent again.
void TableReplica::send_proposals(Effects& effects) {
  std::set<std::uint64_t> held_here;
  for (const auto& pending : pending_) {
    if (pending.sender == options_.self) held_here.insert(proposal_of(pending.operation));
  }
  for (const Refused& refused : refused_) held_here.insert(refused.proposal);
  std::vector<std::pair<std::uint64_t, Applied>> decided;
  for (auto& [number, proposal] : proposals_) {
    const bool once = tried_once(proposal.operation);
    // One that is tried once and still on its way is of an earlier term, and will be refused.
    if ((proposal.on_its_way && !(once && quorate_)) || held_here.contains(number)) continue;
    if (quorate_ && has_happened(table_, proposal.operation)) {
      decided.emplace_back(number, Applied::kAccepted);
    } else if (once && quorate_) {
      decided.emplace_back(number, Applied::kNoQuorum);
    } else if (!once) {
      proposal.on_its_way = true;
      effects.send.push_back(message_of(proposal.operation));
    }
  }
  for (const auto& [number, applied] : decided) decide(number, applied, effects);
}

TableReplica::Effects TableReplica::tick(std::uint64_t now_ms) {
  now_ms_ = now_ms;
  Effects effects;
  const bool joining = phase_ == Phase::kAwaitRequest || phase_ == Phase::kAwaitReplies ||
                       phase_ == Phase::kAwaitSnapshot;
  if (joining && is_lowest() && now_ms >= phase_since_ms_ + options_.sync_ms) {
    request_sync(promised_ + 1, effects);
  }
  if (!established_ || !is_lowest()) return effects;
  for (const ProcessRecord& entry : table_.expired(now_ms)) {
    if (is_pending(entry.process)) continue;
    const bool asked = std::any_of(proposals_.begin(), proposals_.end(), [&](const auto& proposal) {
      return process_of(proposal.second.operation) == entry.process;
    });
    if (asked) continue;
    const NodeId home = entry.process.home;
    std::string reason;
    if (entry.gone) {
      reason = entry.booted == home ? "its home, node " + std::to_string(home.value) + ", was off"
               : entry.booted == entry.where
                   ? "it ran on node " + std::to_string(entry.where.value) + ", which was off"
                   : "its node or its home was off";
    } else if (!view_.has(entry.where)) {
      reason = "node " + std::to_string(entry.where.value) + " went down and took it along";
    } else {
      reason = "node " + std::to_string(home.value) + " went down, its home";
    }
    propose(group::Retire{.process = entry.process,
                          .epoch = entry.epoch,
                          .start_time = entry.start_time,
                          .wait_status = SIGKILL,
                          .reason = std::move(reason),
                          .node = entry.where,
                          .proposal = 0},
            effects);
  }
  return effects;
}

bool TableReplica::is_pending(SsiPid process) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [&](const auto& pending) { return concerns(pending.operation, process); });
}

// ---- over a restart of ssid

std::vector<std::uint8_t> TableReplica::save() const {
  // A reply that tells what we hold, then the snapshot; each frame with its length in front.
  std::vector<std::uint8_t> all;
  const auto add = [&all](const group::GroupMessage& message) {
    const auto frame = group::encode(message);
    const auto size = static_cast<std::uint32_t>(frame.size());
    for (int i = 0; i < 4; ++i) all.push_back(static_cast<std::uint8_t>(size >> (8 * i)));
    all.insert(all.end(), frame.begin(), frame.end());
  };
  add(group::SyncReply{.nonce = sure_,
                       .ballot = 0,
                       .promised = promised_,
                       .term = term_,
                       .held = held(),
                       .boot_id = options_.boot_id,
                       .nodes = options_.nodes});
  for (const auto& part : cut_snapshot(table_, committed_, pending_, 0, 0)) add(part);
  return all;
}

Result<> TableReplica::restore(std::span<const std::uint8_t> saved) {
  SSI_CHECK(phase_ == Phase::kNoView && committed_ == 0);
  const auto damaged = [] {
    return Error(ErrorCode::kRefused, "the saved process table is damaged");
  };
  std::optional<group::SyncReply> head;
  SnapshotReader reader;
  std::optional<TableState> state;
  while (!saved.empty()) {
    if (saved.size() < 4 || state) return damaged();
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size |= static_cast<std::uint32_t>(saved[i]) << (8 * i);
    saved = saved.subspan(4);
    if (size > saved.size()) return damaged();
    SSI_ASSIGN(const auto message, group::decode(saved.first(size)));
    saved = saved.subspan(size);
    if (const auto* reply = std::get_if<group::SyncReply>(&message)) {
      head = *reply;
    } else if (const auto* part = std::get_if<group::Snapshot>(&message)) {
      state = reader.add(*part);
    } else {
      return damaged();
    }
  }
  if (!head || !state || state->committed + state->pending.size() != head->held) return damaged();
  if (head->boot_id != options_.boot_id) return {};  // of another boot: its guests are gone anyway
  term_ = head->term;
  promised_ = head->promised;
  Effects ignored;
  adopt(std::move(*state), ignored);
  committed_ = head->held - pending_.size();
  sure_ = held();
  return {};
}

std::string TableReplica::to_string() const {
  static constexpr const char* kPhases[] = {"no view", "await request", "await replies",
                                            "await snapshot", "ready"};
  std::ostringstream out;
  out << "node " << options_.self.value << ": " << kPhases[static_cast<int>(phase_)] << ", term "
      << term_ << ", promised " << promised_ << ", carried out " << committed_ << ", pending "
      << pending_.size() << (quorate_ ? ", quorate" : "") << (established_ ? ", established" : "")
      << ", own proposals " << proposals_.size() << ", view";
  for (const NodeId node : view_.members) out << " " << node.value;
  return out.str();
}

}  // namespace ssi
