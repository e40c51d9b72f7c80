#include "tests/sim/sim_cluster.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <unordered_map>

#include "loadlevel/policy/admission.h"
#include "loadlevel/policy/move_ledger.h"
#include "loadlevel/policy/plan.h"

namespace ssi::sim {
namespace {

constexpr int kStepsPerSecond = 10;
constexpr double kStep_s = 1.0 / kStepsPerSecond;
constexpr double kReferenceMhz = 2000;
constexpr double kMemory_bytes = 16.0 * 1024 * 1024 * 1024;
constexpr double kReturn_s = 15;
constexpr std::size_t kExactMax = 64;  // up to so many nodes each keeps a ledger of all commits

struct Running {
  const Job* job = nullptr;
  std::size_t index = 0;
  std::size_t at = 0;
  double left_s = 0;
  double wanted_s = 0;
  bool frozen = false;
  bool started = false;
  double end_s = -1;
  int moves = 0;
  std::size_t left_node = 0;  // of the last move
  double left_at_s = -1e9;
};

struct Node {
  int cpus = 1;
  double speed = 1;
  std::vector<std::size_t> jobs;
  double bytes = 0;
  std::deque<double> runnable;  // of the last steps
  double movable = 0;
  std::deque<NodeLoad> published;
  std::deque<double> past;  // ClusterLoad::runnable_past
  int outgoing = 0;
};

struct Transfer {
  std::size_t job = 0;
  std::size_t from = 0;
  std::size_t to = 0;
  double begun_s = 0;
  double done_s = 0;
  MoveNote note;
};

NodeId id_of(std::size_t node) { return {static_cast<std::uint32_t>(node + 1)}; }
SsiPid pid_of(const Running& r) { return {id_of(r.job->node), static_cast<std::int32_t>(r.index)}; }
std::int64_t us(double seconds) { return static_cast<std::int64_t>(std::llround(seconds * 1e6)); }

class Cluster {
 public:
  Cluster(const ClusterOptions& options, const std::vector<Job>& jobs)
      : options_(options), exact_(options.nodes <= kExactMax), random_(options.seed) {
    for (std::size_t i = 0; i < options.nodes; ++i) {
      Node n;
      n.cpus = options.cpus[i % options.cpus.size()];
      n.speed = options.speeds[i % options.speeds.size()];
      nodes_.push_back(std::move(n));
      phase_.push_back(static_cast<int>(random_() % kStepsPerSecond));
      ledgers_.emplace_back(options.config);
    }
    shared_.emplace_back(options.config);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      running_.push_back(
          {.job = &jobs[i], .index = i, .at = jobs[i].node, .left_s = jobs[i].work_s});
    }
    out_.jobs = jobs.size();
  }

  Outcome run() {
    std::size_t next = 0;
    std::size_t ended = 0;
    for (std::int64_t step = 0; ended < running_.size(); ++step) {
      now_s_ = static_cast<double>(step) * kStep_s;
      if (now_s_ > options_.end_s) break;
      for (; next < running_.size() && running_[next].job->start_s <= now_s_; ++next) start(next);
      finish_transfers();
      for (auto& node : nodes_) ended += work(node);
      if (options_.balance) {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
          if ((step + phase_[i]) % kStepsPerSecond == 0) {
            publish(i);
            plan_on(i, static_cast<std::uint64_t>(step / kStepsPerSecond));
          }
        }
        if (step % kStepsPerSecond == 0) tidy();
      }
      if (ended == 0) look_if_even();
    }
    return summary();
  }

 private:
  void start(std::size_t index) {
    Running& r = running_[index];
    r.started = true;
    nodes_[r.at].jobs.push_back(index);
    nodes_[r.at].bytes += r.job->bytes;
  }

  // One step of a node's CPUs; how many jobs ended.
  std::size_t work(Node& node) {
    if (node.jobs.empty() && !options_.balance) return 0;
    double runnable = 0;
    for (const auto index : node.jobs) {
      if (!running_[index].frozen) runnable += running_[index].job->duty;
    }
    node.runnable.push_back(runnable);
    if (node.runnable.size() > kStepsPerSecond) node.runnable.pop_front();
    if (node.jobs.empty()) return 0;
    const double rate = node.speed * std::min(1.0, node.cpus / std::max(runnable, 1e-9));
    std::size_t ended = 0;
    std::erase_if(node.jobs, [&](std::size_t index) {
      Running& r = running_[index];
      if (r.frozen) return false;
      const double done_s = r.job->duty * rate * kStep_s;
      r.wanted_s += r.job->duty * kStep_s;
      if (r.left_s > done_s) {
        r.left_s -= done_s;
        return false;
      }
      r.end_s = now_s_ + kStep_s * r.left_s / done_s;
      r.left_s = 0;
      node.bytes -= r.job->bytes;
      ++ended;
      for (auto* l : ledgers_of(r.at)) l->gone(pid_of(r));
      return true;
    });
    return ended;
  }

  void publish(std::size_t i) {
    Node& node = nodes_[i];
    NodeLoad load;
    load.id = id_of(i);
    load.taken_us = us(now_s_);
    load.cpus = node.cpus;
    load.speed_mhz = kReferenceMhz * node.speed;
    for (const double r : node.runnable) load.runnable += r;
    load.runnable /= std::max<double>(1, static_cast<double>(node.runnable.size()));
    load.movable = node.movable;
    load.memory_total_bytes = static_cast<std::uint64_t>(kMemory_bytes);
    load.memory_available_bytes =
        static_cast<std::uint64_t>(std::max(0.0, kMemory_bytes - node.bytes));
    node.published.push_back(load);
    if (node.published.size() > 8) node.published.pop_front();
    node.past.push_front(load.runnable);
    if (node.past.size() > ClusterLoad::kPastSeconds) node.past.pop_back();
  }

  // The latest that others have heard of node i.
  const NodeLoad* heard_of(std::size_t i) const {
    const NodeLoad* latest = nullptr;
    for (const auto& load : nodes_[i].published) {
      if (load.taken_us <= us(now_s_ - options_.view_delay_s)) latest = &load;
    }
    return latest;
  }

  // Small clusters: each node its own. Large ones: every ledger would hold the same commits, so
  // there is one for all of them, and what only the two nodes of a move know is added in view_of().
  std::vector<MoveLedger*> ledgers_of(std::size_t) {
    std::vector<MoveLedger*> all;
    if (exact_) {
      for (auto& l : ledgers_) all.push_back(&l);
    } else {
      all.push_back(&shared_[0]);
    }
    return all;
  }
  MoveLedger& ledger_of(std::size_t node) { return exact_ ? ledgers_[node] : shared_[0]; }

  ClusterLoad view_of(std::size_t here, std::uint64_t tick, bool with_processes,
                      bool only_here = false) {
    ClusterLoad view;
    view.here = id_of(here);
    view.tick = tick;
    view.all_processes = true;
    view.link_bytes_s = options_.link_bytes_s;
    view.freeze_s = options_.freeze_s;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (i == here) {
        view.nodes.push_back(nodes_[i].published.back());
      } else if (!only_here) {
        if (const NodeLoad* load = heard_of(i)) view.nodes.push_back(*load);
      }
    }
    view.runnable_past.assign(nodes_[here].past.begin(), nodes_[here].past.end());
    if (with_processes) {
      for (const auto index : nodes_[here].jobs) {
        const Running& r = running_[index];
        ProcessLoad p;
        p.pid = pid_of(r);
        p.enabled = r.job->enabled;
        p.demand = r.job->duty;
        p.rss_bytes = static_cast<std::uint64_t>(r.job->bytes);
        p.wanted_s = r.wanted_s;
        view.processes.push_back(p);
      }
    }
    ledger_of(here).annotate(view, us(now_s_));
    if (!exact_) add_own_transfers(view, here);
    return view;
  }

  void add_own_transfers(ClusterLoad& view, std::size_t here) {
    for (const auto& t : transfers_) {
      if (t.from != here && t.to != here) continue;
      for (auto& n : view.nodes) {
        if (n.id == id_of(t.to)) {
          n.demand_arriving += t.note.demand;
          n.bytes_arriving += t.note.bytes;
          ++n.moves_arriving;
        }
        if (n.id == id_of(t.from)) {
          const double since_s = static_cast<double>(n.taken_us) / 1e6 - t.begun_s;
          n.demand_leaving += t.note.demand * std::clamp(1 - since_s, 0.0, 1.0);
          n.bytes_leaving += t.note.bytes;
        }
      }
      for (auto& p : view.processes) {
        if (p.pid == t.note.pid) p.moving = true;
      }
    }
  }

  void plan_on(std::size_t here, std::uint64_t tick) {
    Node& node = nodes_[here];
    if (node.jobs.empty()) {
      node.movable = 0;
      return;
    }
    const ClusterLoad view = view_of(here, tick, true);
    node.movable = movable_demand(view, us(now_s_));
    const Plan decided = plan(view, options_.config, us(now_s_));
    for (const auto& move : decided.moves) begin(here, move, view);
  }

  void begin(std::size_t from, const PlannedMove& move, const ClusterLoad& source_view) {
    const std::size_t to = move.to.value - 1;
    const std::size_t index = static_cast<std::size_t>(move.pid.pid);
    if (options_.admission) {
      ClusterLoad target_view = view_of(to, 0, false, true);
      target_view.nodes.push_back(*source_view.find(source_view.here));
      const Arrival arrival{.from = source_view.here,
                            .source_slowdown = source_slowdown(source_view),
                            .demand = move.demand,
                            .bytes = move.bytes};
      if (const auto admitted = admit(target_view, options_.config, arrival); !admitted) {
        ++out_.not_admitted;
        ledger_of(from).busy(move.pid, admitted.error().message(), move.to, us(now_s_));
        return;
      }
    }
    Node& source = nodes_[from];
    ++source.outgoing;
    const double stands_s = options_.freeze_s + static_cast<double>(move.bytes) * source.outgoing /
                                                    options_.link_bytes_s;
    running_[index].frozen = true;
    Transfer t{index,
               from,
               to,
               now_s_,
               now_s_ + stands_s,
               {move.pid, move.from, move.to, move.demand, move.bytes}};
    if (exact_) {
      ledgers_[from].begun(t.note, us(now_s_));
      ledgers_[to].begun(t.note, us(now_s_));
    }
    transfers_.push_back(t);
    out_.frozen_s += stands_s;
  }

  void finish_transfers() {
    for (std::size_t k = 0; k < transfers_.size();) {
      if (transfers_[k].done_s > now_s_) {
        ++k;
        continue;
      }
      const Transfer t = transfers_[k];
      transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(k));
      Running& r = running_[t.job];
      std::erase(nodes_[t.from].jobs, t.job);
      nodes_[t.from].bytes -= r.job->bytes;
      --nodes_[t.from].outgoing;
      nodes_[t.to].jobs.push_back(t.job);
      nodes_[t.to].bytes += r.job->bytes;
      r.at = t.to;
      r.frozen = false;
      ++out_.moves;
      if (r.moves++ == 0) ++out_.moved_jobs;
      if (r.left_node == t.to && now_s_ - r.left_at_s < kReturn_s) ++out_.returns;
      r.left_node = t.from;
      r.left_at_s = now_s_;
      out_.last_move_s = now_s_;
      for (auto* l : ledgers_of(t.from)) l->committed(t.note, us(now_s_));
    }
  }

  void tidy() {
    if (exact_) {
      for (auto& l : ledgers_) l.tidy(us(now_s_));
    } else {
      shared_[0].tidy(us(now_s_));
    }
  }

  void look_if_even() {
    out_.early_moves = out_.moves;
    double all = 0;
    double capacity = 0;
    for (const auto& n : nodes_) {
      all += static_cast<double>(n.jobs.size());
      capacity += n.cpus * n.speed;
    }
    for (const auto& n : nodes_) {
      if (static_cast<double>(n.jobs.size()) >= all / capacity * n.cpus * n.speed + 1 + 1e-9 &&
          n.jobs.size() > static_cast<std::size_t>(n.cpus)) {
        out_.even_s = -1;
        return;
      }
    }
    if (out_.even_s < 0) out_.even_s = now_s_;
  }

  Outcome summary() {
    std::vector<double> slowdowns;
    double long_sum = 0;
    std::size_t long_count = 0;
    for (const auto& r : running_) {
      if (r.end_s < 0) {
        ++out_.unfinished;
        continue;
      }
      const double alone_s = r.job->work_s / r.job->duty;
      slowdowns.push_back((r.end_s - r.job->start_s) / alone_s);
      if (r.job->work_s >= 2) {
        long_sum += slowdowns.back();
        ++long_count;
      }
      out_.end_s = std::max(out_.end_s, r.end_s);
    }
    std::sort(slowdowns.begin(), slowdowns.end());
    if (!slowdowns.empty()) {
      double sum = 0;
      for (const double s : slowdowns) sum += s;
      out_.slowdown_mean = sum / static_cast<double>(slowdowns.size());
      out_.slowdown_p95 = slowdowns[slowdowns.size() * 95 / 100];
    }
    if (long_count > 0) out_.long_slowdown_mean = long_sum / static_cast<double>(long_count);
    return out_;
  }

  const ClusterOptions& options_;
  const bool exact_;
  std::mt19937_64 random_;
  std::vector<Node> nodes_;
  std::vector<int> phase_;
  std::vector<MoveLedger> ledgers_;
  std::vector<MoveLedger> shared_;
  std::vector<Running> running_;
  std::vector<Transfer> transfers_;
  double now_s_ = 0;
  Outcome out_;
};

}  // namespace

Outcome simulate(const ClusterOptions& options, const std::vector<Job>& jobs) {
  return Cluster(options, jobs).run();
}

Outcome ideal(const ClusterOptions& options, const std::vector<Job>& jobs) {
  ClusterOptions one = options;
  one.nodes = 1;
  one.balance = false;
  int cpus = 0;
  double capacity = 0;
  for (std::size_t i = 0; i < options.nodes; ++i) {
    cpus += options.cpus[i % options.cpus.size()];
    capacity += options.cpus[i % options.cpus.size()] * options.speeds[i % options.speeds.size()];
  }
  one.cpus = {cpus};
  one.speeds = {capacity / cpus};
  std::vector<Job> there = jobs;
  for (auto& job : there) job.node = 0;
  return Cluster(one, there).run();
}

}  // namespace ssi::sim
