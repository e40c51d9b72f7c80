#include "loadlevel/policy/drain_progress.h"

#include <algorithm>
#include <optional>

#include "loadlevel/policy/words.h"

namespace ssi {
namespace {

constexpr std::int64_t kPatience_us = 10'000'000;  // without anything leaving
constexpr int kAttempts = 3;
constexpr std::size_t kKept = 10'000;  // of what has left, for those who ask later

// A reason that holds for every node, whatever the loads are.
std::optional<std::string> lasting_reason(const ProcessLoad& p, const Evaluation& e,
                                          std::int64_t now_us) {
  if (e.verdict == Verdict::kPinned) return e.reasons.at(0);
  if (e.verdict != Verdict::kRefused) return std::nullopt;
  for (const Refusal& r : p.refusals) {
    if (!r.target && r.until_us > now_us) return r.reason;
  }
  return std::nullopt;
}

}  // namespace

void DrainProgress::begin(std::int64_t now_us) {
  active_ = true;
  rounds_ = 0;
  last_tick_ = 0;
  progress_us_ = now_us;
  first_ = next();
  failures_.clear();
  to_go_ = 0;
  staying_.clear();
}

void DrainProgress::end() {
  active_ = false;
  dropped_ = first_ = next();
  left_.clear();
  failures_.clear();
  to_go_ = 0;
  staying_.clear();
}

void DrainProgress::left(const DrainedProcess& process, std::int64_t now_us) {
  under_way_.erase(process.pid);
  if (!active_) return;
  progress_us_ = now_us;
  failures_.erase(process.pid);
  left_.push_back(process);
  if (left_.size() <= kKept) return;
  left_.erase(left_.begin(), left_.begin() + kKept / 2);
  dropped_ += kKept / 2;
}

void DrainProgress::failed(SsiPid pid, std::string reason) {
  under_way_.erase(pid);
  if (!active_) return;
  Failures& f = failures_[pid];
  ++f.count;
  f.last = std::move(reason);
}

bool DrainProgress::hopeless(SsiPid pid) const {
  const auto found = failures_.find(pid);
  return found != failures_.end() && found->second.count >= kAttempts;
}

void DrainProgress::planned(const ClusterLoad& view, const Plan& plan, std::int64_t now_us) {
  if (!active_) return;
  if (view.tick != last_tick_) ++rounds_;
  last_tick_ = view.tick;
  staying_.clear();
  seen_.clear();
  std::map<SsiPid, const Evaluation*> evaluations;
  for (const Evaluation& e : plan.stays) evaluations[e.pid] = &e;

  bool under_way = false;
  std::vector<StayingProcess> waiting;
  for (const ProcessLoad& p : view.processes) {
    seen_.insert(p.pid);
    const auto found = evaluations.find(p.pid);
    const Evaluation* e = found == evaluations.end() ? nullptr : found->second;  // null: it moves
    if (!must_leave(view, p) || (e && e->verdict == Verdict::kEnded)) continue;
    if (auto reason = e ? lasting_reason(p, *e, now_us) : std::nullopt) {
      staying_.push_back({p.pid, std::move(*reason)});
      continue;
    }
    if ((!e || e->verdict == Verdict::kMoving) && !hopeless(p.pid)) under_way = true;
    const auto failed = failures_.find(p.pid);
    waiting.push_back({p.pid, failed != failures_.end() ? failed->second.last
                              : e                       ? reasons_words(e->reasons)
                                                        : ""});
  }
  to_go_ = waiting.size();
  for (const SsiPid pid : under_way_) {
    if (seen_.contains(pid)) continue;
    ++to_go_;
    under_way = true;
  }
  if (under_way || now_us - progress_us_ < kPatience_us) return;
  to_go_ = 0;
  staying_.insert(staying_.end(), waiting.begin(), waiting.end());
}

std::vector<DrainedProcess> DrainProgress::left_since(std::uint64_t number) const {
  const auto skip =
      std::min<std::uint64_t>(number > dropped_ ? number - dropped_ : 0, left_.size());
  return {left_.begin() + static_cast<std::ptrdiff_t>(skip), left_.end()};
}

}  // namespace ssi
