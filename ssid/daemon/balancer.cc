#include "ssid/daemon/balancer.h"

#include "loadlevel/policy/admission.h"
#include "loadlevel/policy/best_node.h"
#include "loadlevel/policy/units.h"
#include "loadlevel/policy/words.h"
#include "ssid/base/log.h"

namespace ssi {
namespace asio = boost::asio;

Result<std::unique_ptr<Balancer>> Balancer::create(asio::io_context& io, const Clock& clock,
                                                   GroupPort& group, ProcessControl& control,
                                                   Options options) {
  SSI_ASSIGN(auto sampler, Sampler::open({}, clock));
  return std::unique_ptr<Balancer>(
      new Balancer(io, clock, group, control, std::move(options), std::move(sampler)));
}

Balancer::Balancer(asio::io_context& io, const Clock& clock, GroupPort& group,
                   ProcessControl& control, Options options, Sampler sampler)
    : io_(io),
      clock_(clock),
      group_(group),
      control_(control),
      options_(std::move(options)),
      sampler_(std::move(sampler)),
      timer_(io),
      enabled_(io, sampler_, options_.state_path, [this](pid_t local) { return name_of(local); }),
      ledger_(options_.policy),
      units_(group.self()) {
  sample_ = &sampler_.sample();
}

void Balancer::start() {
  enabled_.start();
  tick();
}

void Balancer::tick() {
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this](boost::system::error_code ec) {
    if (!ec) tick();
  });
  const std::int64_t now = clock_.now_us();
  ++tick_;
  sample_ = &sampler_.sample();
  runnable_past_.push_front(sample_->scan.runnable);
  if (runnable_past_.size() > ClusterLoad::kPastSeconds) runnable_past_.pop_back();
  enabled_.update(sample_->scan.processes);
  adopt_guests();
  units_.update(sample_->scan.processes, control_.guests(), guest_pids_,
                [this](const ProcessSample& p) { return enabled_.tracker().enabled(p.key); });
  sampler_.watch(enabled_.tracker().enabled());
  ledger_.tidy(now);
  // By the table, not by the event alone: it may have come with a snapshot, or a restart.
  if (drain_.active() != group_.drained(group_.self())) {
    on_drained(group_.self(), !drain_.active());
  }
  ClusterLoad view = view_of_cluster();
  ledger_.annotate(view, now);
  const group::NodeInfo info = own_info(view);
  loads_.heard(info, now);  // at once, and also while there is no group
  (void)group_.broadcast(info);
  plan_moves(view);
}

void Balancer::plan_moves(const ClusterLoad& view) {
  const std::int64_t now = clock_.now_us();
  Plan planned = plan(view, options_.policy, now);
  drain_.planned(view, planned, now);
  stays_.clear();
  for (Evaluation& e : planned.stays) stays_.emplace(e.pid, std::move(e));
  for (const PlannedMove& move : planned.moves) start_move(move, source_slowdown(view));
}

void Balancer::adopt_guests() {
  guest_pids_.clear();
  for (const auto& [pid, record] : control_.guests().all()) adopt_guest(record);
}

void Balancer::adopt_guest(const GuestRecord& record) {
  const auto local = control_.guests().host_pid(record);
  if (!local) return;
  guest_pids_[record.ticket.pid] = *local;
  auto state = Enablement::from_line(record.ticket.enablement);
  if (!state) return;
  state->arrived = true;
  enabled_.adopt(*local, *state);
}

std::string Balancer::name_of(pid_t local_pid) const {
  for (const auto& [pid, local] : guest_pids_) {
    if (local == local_pid) return pid.to_string();
  }
  return SsiPid{group_.self(), local_pid}.to_string();
}

group::NodeInfo Balancer::own_info(const ClusterLoad& view) const {
  group::NodeInfo info;
  info.node = group_.self();
  info.boot_id = options_.boot_id;
  info.cpus = static_cast<std::uint32_t>(sample_->node.cpus);
  info.cpu_speed_mhz = static_cast<std::uint32_t>(sample_->node.speed_mhz);
  info.runnable = sample_->scan.runnable;
  info.movable = movable_demand(view, clock_.now_us());
  info.load1 = sample_->scan.runnable;
  info.mem_total = sample_->node.memory_total_bytes;
  info.mem_free = sample_->node.memory_available_bytes;
  info.guests_in = static_cast<std::uint32_t>(control_.guests().all().size());
  for (const group::TableEntry& e : group_.entries()) {
    if (e.process.home == group_.self() && e.where != group_.self()) ++info.guests_out;
  }
  info.drained = group_.drained(group_.self());
  info.accepting = options_.balancing && options_.accepting && !info.drained;
  info.address = group_.address_of(group_.self());
  info.version = options_.version;
  return info;
}

// Every process that wants a CPU is listed, so that the planner knows what can't be moved too.
ClusterLoad Balancer::view_of_cluster() const {
  ClusterLoad view;
  view.here = group_.self();
  view.tick = tick_;
  view.balancing = options_.balancing;
  view.quorate = group_.view().quorate && group_.table_valid();
  view.runnable_past.assign(runnable_past_.begin(), runnable_past_.end());

  std::map<pid_t, SsiPid> guest_of;
  for (const auto& [pid, local] : guest_pids_) guest_of[local] = pid;
  view.all_processes = true;
  std::map<SsiPid, SsiPid> unit_of;
  for (const ProcessSample& p : sample_->scan.processes) {
    const bool enabled = !p.service && enabled_.tracker().enabled(p.key);
    const auto guest = guest_of.find(p.key.pid);
    const bool is_guest = guest != guest_of.end();
    // A drained node sends idle guests away too.
    const SsiPid* const unit = units_.unit_of(p.key.pid);
    const bool counts = enabled || p.demand_smoothed > 0 || (is_guest && drain_.active()) || unit;
    if (control_.is_deputy(p.key.pid) || !counts) continue;
    if (is_guest && control_.guests().find(guest->second) == nullptr &&
        !control_.is_moving(guest->second)) {
      continue;  // it has left since the sample was taken
    }
    ProcessLoad load;
    load.pid = is_guest ? guest->second : SsiPid{group_.self(), p.key.pid};
    load.enabled = enabled;
    load.moving = control_.is_moving(load.pid);
    load.state = p.state;
    load.demand = p.demand_smoothed;
    load.rss_bytes = units_.own_bytes(p);
    if (unit != nullptr) unit_of[load.pid] = *unit;
    load.wanted_s = p.wanted_s;
    load.pinned = enabled_.tracker().pinned(p.key);
    load.enabled |= load.pinned;  // else the plan would say only that it is not enabled
    view.processes.push_back(std::move(load));
  }
  view.processes = merge_units(std::move(view.processes), unit_of);
  for (const auto& [id, heard] : loads_.all()) {
    NodeLoad n;
    n.id = id;
    n.up = group_.view().has(id);
    n.accepting = heard.info.accepting;
    n.drained = group_.drained(id);
    n.taken_us = heard.at_us;
    n.cpus = static_cast<int>(heard.info.cpus);
    n.speed_mhz = heard.info.cpu_speed_mhz;
    n.runnable = heard.info.runnable;
    n.movable = heard.info.movable;
    n.memory_total_bytes = heard.info.mem_total;
    n.memory_available_bytes = heard.info.mem_free;
    if (id == group_.self()) n.memory_trend_bytes_s = sample_->node.memory_trend_bytes_s;
    view.nodes.push_back(n);
  }
  return view;
}

void Balancer::start_move(const PlannedMove& move, double slowdown_here) {
  log_info("balancer: {} {} -> {}: {}", move.pid.to_string(), move.from.value, move.to.value,
           reasons_words(move.reasons));
  decided_.begun(move);
  ledger_.begun({move.pid, move.from, move.to, move.demand, move.bytes}, clock_.now_us());
  drain_.begun(move.pid);
  const ProcessControl::Wish wish{.by_user = false,
                                  .must_leave = drain_.active(),
                                  .demand = move.demand,
                                  .source_slowdown = slowdown_here};
  control_.migrate_from_here(
      move.pid, move.to, wish, [this, move](Result<migrate::MoveReport> report) {
        if (!report) decided_.failed(move.pid);
        const std::int64_t now = clock_.now_us();
        if (report) {
          log_info("balancer: {} moved, frozen {} ms", move.pid.to_string(),
                   report->frozen_us / 1000);
          drain_.left({move.pid, move.from, move.to, report->frozen_us, report->memory_bytes}, now);
          if (drain_.active()) plan_again();
          return;
        }
        const Error& e = report.error();
        log_info("balancer: {} not moved: {}", move.pid.to_string(), e.message());
        drain_.failed(move.pid, e.message());
        if (e.code() == ErrorCode::kGone) return ledger_.gone(move.pid);
        if (e.code() == ErrorCode::kRefused)
          return ledger_.refused(move.pid, e.message(), std::nullopt, now);
        ledger_.busy(move.pid, e.message(), move.to, now);
      });
}

// A drain goes as fast as moves are done.
void Balancer::plan_again() {
  ClusterLoad view = view_of_cluster();
  ledger_.annotate(view, clock_.now_us());
  plan_moves(view);
}

void Balancer::on_drained(NodeId node, bool drained) {
  if (node != group_.self()) return;
  if (!drained) return drain_.end();
  drain_.begin(clock_.now_us());
}

std::size_t Balancer::guests_unseen() const {
  std::size_t unseen = control_.coming_in();
  for (const auto& [pid, record] : control_.guests().all()) {
    if (pid.home == group_.self() || drain_.seen(pid)) continue;
    if (control_.guests().host_pid(record)) ++unseen;  // else it has just ended
  }
  return unseen;
}

void Balancer::on_node_info(const group::NodeInfo& info) { loads_.heard(info, clock_.now_us()); }

void Balancer::on_moved(const group::Commit& c) {
  ledger_.committed({c.process, c.from, c.to, 1, 0}, clock_.now_us());
  decided_.moved(c.process, c.from, c.to);
  if (c.to != group_.self()) return;
  // What was said about it holds at once.
  if (const GuestRecord* guest = control_.guests().find(c.process)) adopt_guest(*guest);
}

void Balancer::on_ended(SsiPid pid) {
  ledger_.gone(pid);
  decided_.gone(pid);
}

std::string Balancer::enablement_of(pid_t local_pid) {
  auto sample = enabled_.look(local_pid);
  const Enablement* state = sample ? enabled_.tracker().find(sample->key) : nullptr;
  return state != nullptr ? state->to_line() : "";
}

std::vector<std::string> Balancer::why(SsiPid pid, pid_t local_pid) {
  std::vector<std::string> lines;
  if (auto sample = enabled_.look(local_pid))
    lines.push_back(enabled_.tracker().reason(sample->key));
  const SsiPid* const unit = units_.unit_of(local_pid);
  if (unit != nullptr && *unit != pid) {
    lines.push_back("it moves with " + unit->to_string() + ", of whose unit it is");
  }
  if (const auto stay = stays_.find(unit != nullptr ? *unit : pid); stay != stays_.end()) {
    lines.push_back(std::string("stays: ") + verdict_name(stay->second.verdict));
    lines.insert(lines.end(), stay->second.reasons.begin(), stay->second.reasons.end());
  }
  return lines;
}

NodeId Balancer::best_node_for(NodeId from, NodeId home, double demand, std::uint64_t bytes) {
  const std::int64_t now = clock_.now_us();
  ClusterLoad view = view_of_cluster();
  ledger_.annotate(view, now);
  return best_node(view, options_.policy, now, from, home, demand, bytes);
}

std::optional<std::string> Balancer::refuse_arrival(const migrate::MoveTicket& t) {
  const std::int64_t now = clock_.now_us();
  ClusterLoad view = view_of_cluster();
  ledger_.annotate(view, now);
  auto admitted = admit(view, options_.policy,
                        {.from = t.from,
                         .source_slowdown = t.source_slowdown,
                         .demand = t.demand,
                         .bytes = t.rss_bytes,
                         .by_user = t.by_user,
                         .must_leave = t.must_leave});
  if (!admitted) return admitted.error().message();
  ledger_.begun({t.pid, t.from, t.to, t.demand, t.rss_bytes}, now);
  return std::nullopt;
}

}  // namespace ssi
