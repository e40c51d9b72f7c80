#include "loadlevel/policy/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "loadlevel/policy/cost.h"
#include "loadlevel/policy/words.h"

namespace ssi {
namespace {

constexpr double kEven = 1e-9;
constexpr double kShortest_s = 1;  // what a process just begun is expected to last

// SplitMix64: equal seeds, equal lots, on every machine.
class Lot {
 public:
  Lot(NodeId here, std::uint64_t tick)
      : state_(static_cast<std::uint64_t>(here.value) * 0x9e3779b97f4a7c15ULL ^
               tick * 0xd1342543de82ef95ULL) {}
  double draw() {  // (0, 1)
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return (static_cast<double>(z >> 11) + 0.5) / 9007199254740992.0;
  }

 private:
  std::uint64_t state_;
};

double seconds_since(std::int64_t now_us, std::int64_t then_us) {
  return static_cast<double>(now_us - then_us) / 1e6;
}

std::string load_words(const Level& node) {
  return words("%s has %.1f runnable %s on %s", node_words(node.id).c_str(), node.runnable,
               node.runnable == 1 ? "task" : "tasks", cpus_words(node.cpus).c_str());
}

// A node that may take something in.
struct Target {
  std::size_t node;    // index of its level
  double lack = 0;     // runnable tasks it is short of the average
  double quota = 0;    // what of it this node may fill in this round
  int moves = 0;       // on their way to it, with those planned here
  bool drawn = false;  // compared in this round
};

enum class Mode { kBalance, kUsher, kDrain };

// One process against one target.
struct Look {
  std::size_t target = 0;  // index into targets
  Verdict verdict = Verdict::kNoGain;
  bool good = false;  // verdict does not count then
  double gain = 0;
  double score = -std::numeric_limits<double>::infinity();
};

// One round of planning; lives as long as one call of plan().
class Round {
 public:
  Round(const ClusterLoad& view, const PolicyConfig& config, std::int64_t now_us)
      : view_(view), config_(config), now_us_(now_us), lot_(view.here, view.tick) {}

  Plan run() {
    if (const auto why = nothing_moves_because(); !why.empty()) {
      for (const auto& p : view_.processes) stay(p, Verdict::kNotNow, {why});
      return std::move(plan_);
    }
    read_levels();
    choose_mode();
    collect_candidates();
    draw_targets();
    choose_moves();
    explain_the_rest();
    std::sort(stays_.begin(), stays_.end(), [](auto& a, auto& b) { return a.first < b.first; });
    for (auto& [index, evaluation] : stays_) plan_.stays.push_back(std::move(evaluation));
    return std::move(plan_);
  }

 private:
  std::string nothing_moves_because() const {
    if (!view_.quorate) return "the cluster has no quorum: nothing changes hands";
    if (!view_.find(view_.here)) return node_words(view_.here) + " does not know its own load yet";
    if (!view_.balancing && !view_.find(view_.here)->drained) {
      return "load-levelling is off on " + node_words(view_.here);
    }
    return {};
  }

  void stay(const ProcessLoad& p, Verdict verdict, std::vector<std::string> reasons,
            NodeId best = {}, double gain = 0) {
    const auto index = static_cast<std::size_t>(&p - view_.processes.data());
    Evaluation e{p.pid, verdict, best, gain, std::move(reasons)};
    if (levels_.empty()) {
      plan_.stays.push_back(std::move(e));
    } else {
      stays_.emplace_back(index, std::move(e));
    }
  }

  void read_levels() {
    const double reference_mhz = view_.find(view_.here)->speed_mhz;
    levels_.reserve(view_.nodes.size());
    for (const auto& node : view_.nodes) {
      if (node.id == view_.here) self_ = levels_.size();
      levels_.push_back(Level::of(node, reference_mhz));
    }
  }

  const NodeLoad& self_node() const { return view_.nodes[self_]; }

  // Free memory of this node as it will be in a while if things go on like this.
  double memory_ahead() const {
    return levels_[self_].memory_available_bytes +
           std::min(0.0, self_node().memory_trend_bytes_s) * config_.usher_lookahead_s;
  }

  void choose_mode() {
    const Level& self = levels_[self_];
    if (self_node().drained) {
      mode_ = Mode::kDrain;
      // Rather to a node whose balancer is off than to stay.
      last_resort_ = std::none_of(view_.nodes.begin(), view_.nodes.end(), [&](const NodeLoad& n) {
        return n.id != view_.here && closed_because(n).empty();
      });
    } else if (self.memory_total_bytes > 0 &&
               memory_ahead() < config_.usher_start * self.memory_total_bytes) {
      mode_ = Mode::kUsher;
    }
  }

  bool ushered_enough() const {
    return memory_ahead() >= config_.usher_stop * levels_[self_].memory_total_bytes;
  }

  void collect_candidates() {
    left_.assign(view_.processes.size(), false);
    for (const auto& p : view_.processes) {
      if (p.moving) ++in_flight_;
      if (auto standing = standing_reason(p)) {
        stay(p, standing->first, {std::move(standing->second)});
      } else {
        candidates_.push_back(&p);
      }
    }
    std::sort(candidates_.begin(), candidates_.end(),
              [](const auto* a, const auto* b) { return a->pid < b->pid; });
  }

  // Why a process is no candidate at all, whatever the loads are.
  std::optional<std::pair<Verdict, std::string>> standing_reason(const ProcessLoad& p) const {
    using R = std::pair<Verdict, std::string>;
    const bool candidate = mode_ == Mode::kDrain ? must_leave(view_, p) : p.enabled;
    if (!candidate) return R{Verdict::kNotEnabled, "load-levelling is not enabled for it"};
    if (p.state == 'Z' || p.state == 'X') return R{Verdict::kEnded, "it has ended (zombie)"};
    if (p.pinned) return R{Verdict::kPinned, "it is pinned to " + node_words(view_.here)};
    if (p.moving) return R{Verdict::kMoving, "it is being moved right now"};
    for (const auto& refusal : p.refusals) {
      if (refusal.target || refusal.until_us <= now_us_) continue;
      return R{Verdict::kRefused, "it can't be moved: " + refusal.reason + "; tried again in " +
                                      seconds_words(seconds_since(refusal.until_us, now_us_))};
    }
    if (mode_ != Mode::kBalance) return {};
    if (p.wanted_s < config_.min_age_s) {
      return R{Verdict::kTooYoung,
               words("it has wanted a CPU for %s so far, less than %s",
                     seconds_words(p.wanted_s).c_str(), seconds_words(config_.min_age_s).c_str())};
    }
    if (p.moves > 0) {
      const double stays_s = residence_s(p.moves, config_);
      const double there_s = seconds_since(now_us_, p.last_move_us);
      if (there_s < stays_s) {
        return R{Verdict::kResident,
                 words("it came here %s ago; after move number %d it stays for %s",
                       seconds_words(there_s).c_str(), p.moves, seconds_words(stays_s).c_str())};
      }
    }
    if (p.demand < config_.min_demand) {
      return R{Verdict::kIdle, words("it wants only %.0f%% of a CPU, less than %.0f%%",
                                     p.demand * 100, config_.min_demand * 100)};
    }
    return {};
  }

  // Why nothing can go to a node; empty if it can.
  std::string closed_because(const NodeLoad& node) const {
    if (!node.up) return node_words(node.id) + " is down";
    if (node.drained) return node_words(node.id) + " is drained";
    if (!node.accepting && !last_resort_) return node_words(node.id) + " is not accepting guests";
    const double age_s = seconds_since(now_us_, node.taken_us);
    if (age_s > config_.stale_after_s) {
      return node_words(node.id) + " was last heard of " + seconds_words(age_s) + " ago";
    }
    return {};
  }

  // Surplus and lack against the average, this node's share of the lack, and the lot.
  void draw_targets() {
    double runnable = 0;
    double capacity = 0;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      const NodeLoad& node = view_.nodes[i];
      if (!node.up) continue;
      runnable += levels_[i].runnable;
      if (!node.drained) capacity += levels_[i].capacity();
    }
    const double average = capacity > 0 ? runnable / capacity : 0;
    double fastest = 0;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      if (i == self_ || closed_because(view_.nodes[i]).empty()) {
        fastest = std::max(fastest, levels_[i].speed);
      }
    }
    double surplus_all = 0;
    double lack_all = 0;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      const NodeLoad& node = view_.nodes[i];
      if (!node.up) continue;
      // Its part of all there is to do; and on a CPU as fast as any, a task of its own is never too
      // much.
      double fair = node.drained ? 0 : average * levels_[i].capacity();
      if (!node.drained && levels_[i].speed * config_.stability_factor >= fastest) {
        fair = std::max<double>(fair, levels_[i].cpus);
      }
      double surplus = std::max(0.0, levels_[i].runnable - fair);
      const double movable = i == self_ ? movable_demand(view_, now_us_) : node.movable;
      if (movable >= 0) surplus = std::min(surplus, movable);
      if (i == self_) {
        own_surplus_ = surplus;
        surplus_all += surplus;
        continue;
      }
      surplus_all += surplus;
      if (!closed_because(node).empty()) continue;
      Target t{.node = i};
      t.lack = std::max(0.0, fair - levels_[i].runnable);
      t.moves = node.moves_arriving;
      lack_all += t.lack;
      targets_.push_back(t);
    }

    const double share = surplus_all > 0 ? own_surplus_ / surplus_all : 0;
    const double asked_for = lack_all > 0 ? share * std::min(lack_all, surplus_all) : 0;
    const bool alone = share > 1 - 1e-6;
    std::vector<std::pair<double, std::size_t>> lots;
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const double weight = mode_ == Mode::kBalance ? targets_[i].lack : 1;
      if (weight > kEven) lots.emplace_back(std::log(lot_.draw()) / weight, i);
    }
    const auto drawn = std::min(lots.size(), static_cast<std::size_t>(config_.targets_sampled));
    std::partial_sort(lots.begin(), lots.begin() + static_cast<std::ptrdiff_t>(drawn), lots.end(),
                      [](auto& a, auto& b) { return a.first > b.first; });
    double lack_drawn = 0;
    for (std::size_t i = 0; i < drawn; ++i) lack_drawn += targets_[lots[i].second].lack;
    for (std::size_t i = 0; i < drawn; ++i) {
      Target& t = targets_[lots[i].second];
      t.drawn = true;
      if (mode_ != Mode::kBalance || alone) {
        t.quota = std::numeric_limits<double>::infinity();
      } else {
        // The fraction of a process becomes a whole one as often as it says.
        t.quota = std::min(t.lack, t.lack * asked_for / lack_drawn) + lot_.draw() - 0.5;
      }
    }
    // With others planning too, the quotas add up to this node's share; alone, it sends what it has
    // too much.
    budget_ =
        mode_ == Mode::kBalance && alone ? own_surplus_ : std::numeric_limits<double>::infinity();
  }

  // Seconds by the clock in which it wanted so much CPU.
  static double wanted_for_s(const ProcessLoad& p) { return p.wanted_s / std::max(p.demand, 0.05); }

  // What has wanted a CPU for so long will, as a rule, want it as long again (half of those that
  // reach an age reach twice that age: Harchol-Balter and Downey 1997, and so did a recorded C++
  // build).
  double horizon_s(const ProcessLoad& p) const {
    return std::min(config_.horizon_max_s, wanted_for_s(p));
  }

  // There was always at least as much to do within the last seconds; 0 if that is not known.
  double always_here(double seconds) const {
    const auto wanted = static_cast<std::size_t>(std::ceil(seconds));
    const auto& past = view_.runnable_past;
    if (past.size() < wanted) return 0;
    return *std::min_element(past.begin(), past.begin() + static_cast<std::ptrdiff_t>(wanted));
  }

  // This node's load as it will be, on the average, over the horizon of `p`. A process that has
  // just begun has probably ended long before: it is no reason for an older one to leave. With
  // all_processes the same goes for what ended within the last second: it is in `runnable`, but not
  // among the processes. But where others always come in their place (`make -j8`), there will be as
  // much to do as there was all the time for so long before.
  Level expected_here(const ProcessLoad& p) const {
    Level level = levels_[self_];
    if (mode_ != Mode::kBalance) return level;
    const double horizon = std::max(horizon_s(p), kShortest_s);
    double known = 0;
    double lasting = 0;
    for (std::size_t i = 0; i < view_.processes.size(); ++i) {
      const ProcessLoad& q = view_.processes[i];
      if (q.moving || left_[i]) continue;
      known += q.demand;
      const double remaining = std::max(kShortest_s, wanted_for_s(q));
      lasting += q.demand * (&q == &p ? 1 : std::min(1.0, remaining / horizon));
    }
    const double others = view_.all_processes ? 0 : std::max(0.0, level.runnable - known);
    level.runnable = std::min(level.runnable, std::max(lasting + others, always_here(horizon)));
    return level;
  }

  static const Refusal* refusal_for(const ProcessLoad& p, NodeId target, std::int64_t now_us) {
    for (const auto& r : p.refusals) {
      if (r.target == target && r.until_us > now_us) return &r;
    }
    return nullptr;
  }

  bool memory_fits(const Level& target, double bytes) const {
    return target.memory_total_bytes <= 0 || target.memory_available_bytes - bytes >=
                                                 config_.memory_reserve * target.memory_total_bytes;
  }

  Look look(const ProcessLoad& p, std::size_t index) const {
    const Level from = expected_here(p);
    const Level& to = levels_[targets_[index].node];
    const double bytes = static_cast<double>(p.rss_bytes);
    Look result{.target = index};
    if (refusal_for(p, to.id, now_us_)) {
      result.verdict = Verdict::kRefused;
      return result;
    }
    if (!memory_fits(to, bytes)) {
      result.verdict = Verdict::kNoTarget;
      return result;
    }
    result.gain = move_gain(from, to, p.pid.home, p.demand, bytes, config_);
    const double cost_s = move_cost_s(view_, bytes, config_);
    switch (mode_) {
      case Mode::kDrain:
        result.good = true;
        result.score = result.gain;
        return result;
      case Mode::kUsher:
        result.good = result.gain > 0;
        result.score = result.gain * config_.horizon_max_s - cost_s;
        return result;
      case Mode::kBalance:
        break;
    }
    result.score = result.gain * horizon_s(p) - config_.payback_factor * cost_s;
    Level to_after = to;
    to_after.add(p.demand, bytes);
    const bool faster = slowdown(from) >= config_.stability_factor * slowdown(to_after);
    if (!faster || result.gain < config_.min_gain || result.gain <= 0) return result;
    result.verdict = Verdict::kNotPaying;
    result.good = result.score > 0;
    return result;
  }

  // The best of the drawn targets that still have room for it.
  std::optional<Look> best_open(const ProcessLoad& p) const {
    std::optional<Look> best;
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const Target& t = targets_[i];
      if (!t.drawn || t.moves >= static_cast<int>(config_.moves_per_target) ||
          t.quota < p.demand / 2) {
        continue;
      }
      const Look now = look(p, i);
      if (now.good && (!best || now.score > best->score)) best = now;
    }
    return best;
  }

  void choose_moves() {
    while (in_flight_ + static_cast<int>(plan_.moves.size()) <
           static_cast<int>(config_.moves_per_tick)) {
      if (mode_ == Mode::kUsher && ushered_enough()) break;
      std::optional<Look> best;
      std::size_t chosen = 0;
      double best_rank = 0;
      for (std::size_t i = 0; i < candidates_.size(); ++i) {
        if (budget_ < candidates_[i]->demand / 2) continue;
        const auto now = best_open(*candidates_[i]);
        if (!now) continue;
        // The link is what moves share: most saved per second of it goes first.
        const double rank =
            now->score /
            move_cost_s(view_, static_cast<double>(candidates_[i]->rss_bytes), config_);
        if (!best || rank > best_rank) {
          best = now;
          best_rank = rank;
          chosen = i;
        }
      }
      if (!best) break;
      const ProcessLoad& p = *candidates_[chosen];
      Target& target = targets_[best->target];
      Level& from = levels_[self_];
      Level& to = levels_[target.node];
      const double bytes = static_cast<double>(p.rss_bytes);
      plan_.moves.push_back({p.pid, view_.here, to.id, best->gain,
                             move_cost_s(view_, bytes, config_), p.demand, p.rss_bytes,
                             move_reasons(p, from, to, best->gain)});
      from.remove(p.demand, bytes);
      to.add(p.demand, bytes);
      left_[static_cast<std::size_t>(&p - view_.processes.data())] = true;
      target.quota -= p.demand;
      ++target.moves;
      budget_ -= p.demand;
      candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }

  std::vector<std::string> move_reasons(const ProcessLoad& p, const Level& from, const Level& to,
                                        double gain) const {
    const double bytes = static_cast<double>(p.rss_bytes);
    std::vector<std::string> reasons;
    if (mode_ == Mode::kDrain) reasons.push_back(node_words(from.id) + " is drained");
    if (mode_ == Mode::kUsher) {
      reasons.push_back(words("%s runs out of memory: %s of %s free, %s in %s",
                              node_words(from.id).c_str(),
                              bytes_words(from.memory_available_bytes).c_str(),
                              bytes_words(from.memory_total_bytes).c_str(),
                              bytes_words(std::max(0.0, memory_ahead())).c_str(),
                              seconds_words(config_.usher_lookahead_s).c_str()));
      reasons.push_back(words("%s has %s free", node_words(to.id).c_str(),
                              bytes_words(to.memory_available_bytes).c_str()));
    }
    reasons.push_back(load_words(from) + ", " + load_words(to));
    Level after = to;
    after.add(p.demand, bytes);
    reasons.push_back(words("a second of its work takes %s here and would take %s there",
                            seconds_words(slowdown(from)).c_str(),
                            seconds_words(slowdown(after)).c_str()));
    if (mode_ == Mode::kBalance) {
      reasons.push_back(
          words("the move saves %.1f s of waiting per second, for %s (it has wanted a CPU for %s); "
                "it costs %s",
                gain, seconds_words(horizon_s(p)).c_str(), seconds_words(p.wanted_s).c_str(),
                cost_words(bytes).c_str()));
    }
    if (to.id == p.pid.home) reasons.push_back(node_words(to.id) + " is its home");
    return reasons;
  }

  std::string cost_words(double bytes) const {
    return words("%s of standing still for %s",
                 seconds_words(move_cost_s(view_, bytes, config_)).c_str(),
                 bytes_words(bytes).c_str());
  }

  void explain_the_rest() {
    // One more that is worth a look besides the drawn ones: where there is most room.
    std::size_t emptiest = targets_.size();
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const auto room = [&](std::size_t t) {
        const Level& l = levels_[targets_[t].node];
        return slowdown(l) + l.runnable / l.capacity();
      };
      if (emptiest == targets_.size() || room(i) < room(emptiest)) emptiest = i;
    }
    for (const ProcessLoad* p : candidates_) explain(*p, emptiest);
  }

  void explain(const ProcessLoad& p, std::size_t emptiest) {
    std::optional<Look> best;
    bool memory = false;
    const Refusal* refusal = nullptr;
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      if (!targets_[i].drawn && i != emptiest) continue;
      const Look now = look(p, i);
      if (now.verdict == Verdict::kRefused) {
        refusal = refusal_for(p, levels_[targets_[i].node].id, now_us_);
      } else if (now.verdict == Verdict::kNoTarget) {
        memory = true;
      } else if (!best || (now.good && !best->good) ||
                 (now.good == best->good && now.score > best->score)) {
        best = now;
      }
    }
    if (!best) {
      explain_no_target(p, refusal, memory);
      return;
    }
    const Level& from = levels_[self_];
    const Level& to = levels_[targets_[best->target].node];
    const double bytes = static_cast<double>(p.rss_bytes);
    Level after = to;
    after.add(p.demand, bytes);
    std::vector<std::string> reasons = {load_words(from) + ", " + load_words(to)};
    if (best->good) {
      reasons.push_back(mode_ == Mode::kUsher && ushered_enough()
                            ? "enough memory will be free without it"
                            : "it would gain at " + node_words(to.id) +
                                  ", but others go first, or other nodes send theirs");
      stay(p, Verdict::kNextTime, std::move(reasons), to.id, best->gain);
      return;
    }
    if (best->verdict == Verdict::kNotPaying) {
      reasons.push_back(
          words("the move would save %.1f s of waiting per second for %s; it costs %s, and must "
                "save %.1f times as much",
                best->gain, seconds_words(horizon_s(p)).c_str(), cost_words(bytes).c_str(),
                config_.payback_factor));
      stay(p, Verdict::kNotPaying, std::move(reasons), to.id, best->gain);
      return;
    }
    reasons.push_back(
        words("a second of its work takes %s here and would take %s there: not %.2f times "
              "faster, or all nodes together would lose",
              seconds_words(slowdown(from)).c_str(), seconds_words(slowdown(after)).c_str(),
              config_.stability_factor));
    stay(p, Verdict::kNoGain, std::move(reasons), to.id, best->gain);
  }

  void explain_no_target(const ProcessLoad& p, const Refusal* refusal, bool memory) {
    std::vector<std::string> reasons;
    if (refusal) {
      reasons.push_back(node_words(refusal->target) + " did not take it: " + refusal->reason);
    }
    if (memory) {
      reasons.push_back("no node has " + bytes_words(static_cast<double>(p.rss_bytes)) +
                        " of memory for it and its own reserve");
    }
    for (const auto& node : view_.nodes) {
      if (node.id == view_.here || reasons.size() >= 5) continue;
      if (auto why = closed_because(node); !why.empty()) reasons.push_back(std::move(why));
    }
    if (reasons.empty()) reasons.emplace_back("there is no other node");
    stay(p, refusal ? Verdict::kRefused : Verdict::kNoTarget, std::move(reasons));
  }

  const ClusterLoad& view_;
  const PolicyConfig& config_;
  const std::int64_t now_us_;
  Lot lot_;
  Plan plan_;
  std::vector<std::pair<std::size_t, Evaluation>> stays_;
  std::vector<Level> levels_;  // as view_.nodes
  std::size_t self_ = 0;
  Mode mode_ = Mode::kBalance;
  bool last_resort_ = false;  // nodes that take no guests are targets too
  std::vector<const ProcessLoad*> candidates_;
  std::vector<Target> targets_;
  std::vector<bool> left_;  // as view_.processes: planned to move in this round
  int in_flight_ = 0;
  double own_surplus_ = 0;
  double budget_ = 0;
};

}  // namespace

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNotNow:
      return "not now";
    case Verdict::kNotEnabled:
      return "not enabled";
    case Verdict::kPinned:
      return "pinned";
    case Verdict::kMoving:
      return "moving";
    case Verdict::kEnded:
      return "ended";
    case Verdict::kRefused:
      return "can't move";
    case Verdict::kTooYoung:
      return "too young";
    case Verdict::kResident:
      return "moved a short while ago";
    case Verdict::kIdle:
      return "idle";
    case Verdict::kNoTarget:
      return "no target";
    case Verdict::kNoGain:
      return "no gain";
    case Verdict::kNotPaying:
      return "does not pay";
    case Verdict::kNextTime:
      return "next time";
  }
  return "?";
}

Plan plan(const ClusterLoad& view, const PolicyConfig& config, std::int64_t now_us) {
  return Round(view, config, now_us).run();
}

}  // namespace ssi
