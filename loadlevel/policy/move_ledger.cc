#include "loadlevel/policy/move_ledger.h"

#include <algorithm>
#include <cmath>

namespace ssi {
namespace {

constexpr std::int64_t kWindow_us = 1'000'000;       // what "over the last second" looks back
constexpr std::int64_t kForgetMove_us = 10'000'000;  // committed: every load has seen it by then
constexpr std::int64_t kLostMove_us = 60'000'000;    // begun, never ended
constexpr std::int64_t kForgetProcess_us = 3'600'000'000;
constexpr double kBusy_s = 2;

// Part of the window before `taken` that lies before `event`: 1 if the event came later.
double part_before(std::int64_t event_us, std::int64_t taken_us) {
  return std::clamp(1 - static_cast<double>(taken_us - event_us) / static_cast<double>(kWindow_us),
                    0.0, 1.0);
}

}  // namespace

void MoveLedger::begun(const MoveNote& note, std::int64_t now_us) {
  moves_[note.pid].push_back({note, now_us, {}});
}

void MoveLedger::committed(const MoveNote& note, std::int64_t now_us) {
  auto& moves = moves_[note.pid];
  if (moves.empty() || moves.back().committed_us || moves.back().note.to != note.to) {
    moves.push_back({note, now_us, {}});
  }
  moves.back().committed_us = now_us;
  History& h = history_[note.pid];
  ++h.moves;
  h.last_move_us = h.touched_us = now_us;
  h.refusals = 0;
  h.refused.clear();
}

void MoveLedger::failed(SsiPid pid, std::int64_t now_us) {
  const auto at = moves_.find(pid);
  if (at == moves_.end() || at->second.back().committed_us) return;
  at->second.pop_back();
  if (at->second.empty()) moves_.erase(at);
  history_[pid].touched_us = now_us;
}

void MoveLedger::refuse(SsiPid pid, std::string reason, NodeId target, double seconds,
                        std::int64_t now_us) {
  failed(pid, now_us);
  History& h = history_[pid];
  h.touched_us = now_us;
  std::erase_if(h.refused, [&](const Refusal& r) { return r.target == target; });
  h.refused.push_back(
      {target, std::move(reason), now_us + static_cast<std::int64_t>(seconds * 1e6)});
}

void MoveLedger::refused(SsiPid pid, std::string reason, std::optional<NodeId> target,
                         std::int64_t now_us) {
  const int before = history_[pid].refusals++;
  const double seconds =
      std::min(config_.refusal_max_s, config_.refusal_s * std::pow(2, std::min(before, 30)));
  refuse(pid, std::move(reason), target.value_or(NodeId{}), seconds, now_us);
}

void MoveLedger::busy(SsiPid pid, std::string reason, NodeId target, std::int64_t now_us) {
  refuse(pid, std::move(reason), target, kBusy_s, now_us);
}

void MoveLedger::gone(SsiPid pid) {
  moves_.erase(pid);
  history_.erase(pid);
}

void MoveLedger::annotate(ClusterLoad& view, std::int64_t now_us) const {
  for (auto& node : view.nodes) {
    node.demand_arriving = node.demand_leaving = 0;
    node.bytes_arriving = node.bytes_leaving = 0;
    node.moves_arriving = 0;
  }
  const auto find = [&](NodeId id) -> NodeLoad* {
    for (auto& node : view.nodes) {
      if (node.id == id) return &node;
    }
    return nullptr;
  };
  for (const auto& [pid, moves] : moves_) {
    for (const auto& move : moves) {
      if (NodeLoad* from = find(move.note.from)) {
        from->demand_leaving += move.note.demand * part_before(move.begun_us, from->taken_us);
        if (!move.committed_us || *move.committed_us > from->taken_us) {
          from->bytes_leaving += move.note.bytes;
        }
      }
      if (NodeLoad* to = find(move.note.to)) {
        to->demand_arriving +=
            move.note.demand *
            (move.committed_us ? part_before(*move.committed_us, to->taken_us) : 1);
        if (!move.committed_us || *move.committed_us > to->taken_us) {
          to->bytes_arriving += move.note.bytes;
        }
        if (!move.committed_us) ++to->moves_arriving;
      }
    }
  }
  for (auto& process : view.processes) {
    const auto under_way = moves_.find(process.pid);
    if (under_way != moves_.end() && !under_way->second.back().committed_us) process.moving = true;
    const auto known = history_.find(process.pid);
    process.moves = known == history_.end() ? 0 : known->second.moves;
    process.last_move_us = known == history_.end() ? 0 : known->second.last_move_us;
    process.refusals.clear();
    if (known == history_.end()) continue;
    for (const auto& refusal : known->second.refused) {
      if (refusal.until_us > now_us) process.refusals.push_back(refusal);
    }
  }
}

void MoveLedger::tidy(std::int64_t now_us) {
  for (auto at = moves_.begin(); at != moves_.end();) {
    std::erase_if(at->second, [&](const Move& m) {
      return m.committed_us ? now_us - *m.committed_us > kForgetMove_us
                            : now_us - m.begun_us > kLostMove_us;
    });
    at = at->second.empty() ? moves_.erase(at) : std::next(at);
  }
  std::erase_if(history_, [&](const auto& h) {
    return now_us - h.second.touched_us > kForgetProcess_us && !moves_.contains(h.first);
  });
}

int MoveLedger::moves(SsiPid pid) const {
  const auto known = history_.find(pid);
  return known == history_.end() ? 0 : known->second.moves;
}

}  // namespace ssi
