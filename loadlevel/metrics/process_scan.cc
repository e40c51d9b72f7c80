#include "loadlevel/metrics/process_scan.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "ssid/base/own_programs.h"

namespace ssi {
namespace {

constexpr int kQuietReadings = 3;  // without CPU use, before a process is read more rarely
constexpr int kUidEvery = 16;      // readings between two looks at the uid (setuid without exec)
constexpr double kShortestLife_s = 0.02;  // start times have a grain of 10 ms
constexpr std::string_view kDeleted = " (deleted)";

std::int64_t thread_cpu_us() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1000;
}

double smooth(double old_value, double new_value, double dt_s, double tau_s) {
  return old_value + (new_value - old_value) * (1 - std::exp(-dt_s / tau_s));
}

}  // namespace

struct ProcessScan::Entry {
  ProcessSample sample;
  std::uint64_t inode = 0;
  bool alive = false;  // seen in this pass's listing
  bool kernel_thread = false;
  bool averaging = false;  // the smoothed values have begun
  std::uint64_t image_print = 0;
  std::uint64_t cpu_ticks = 0;
  std::int64_t read_us = 0;
  double waited_s = 0;
  int quiet = 0;
  int until_uid = 0;
  std::uint64_t next_pass = 0;
  UniqueFd stat_fd;
  UniqueFd schedstat_fd;
  std::unordered_map<pid_t, proc::SchedStat> threads;
};

Result<ProcessScan> ProcessScan::open(ProcessScanOptions options, const Clock& clock) {
  SSI_ASSIGN(auto files, ProcFiles::open(options.proc_root));
  return ProcessScan(std::move(options), clock, std::move(files));
}

ProcessScan::ProcessScan(ProcessScanOptions options, const Clock& clock, ProcFiles files)
    : options_(std::move(options)),
      clock_(&clock),
      files_(std::move(files)),
      ticks_per_s_(static_cast<double>(::sysconf(_SC_CLK_TCK))),
      page_bytes_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))),
      idle_every_(options_.idle_every_min) {
  if (!options_.cost_us) options_.cost_us = thread_cpu_us;
}

ProcessScan::ProcessScan(ProcessScan&&) noexcept = default;
ProcessScan::~ProcessScan() = default;

void ProcessScan::watch(const std::vector<ProcessKey>& keys) {
  watched_.clear();
  watched_.insert(keys.begin(), keys.end());
}

void ProcessScan::pass(ProcessScanResult& out) {
  const std::int64_t cost_before_us = options_.cost_us();
  const std::int64_t now_us = clock_->now_us();
  const double interval_s = static_cast<double>(now_us - last_pass_us_) / 1e6;
  const bool first_pass = pass_ == 0;
  if (pass_ % 16 == 0) {
    // Start times count from boot, the clock from somewhere else. "12345.67 ..."
    const std::string text(files_.read("uptime"));
    boot_offset_us_ = static_cast<std::int64_t>(std::strtod(text.c_str(), nullptr) * 1e6) - now_us;
  }
  ++pass_;
  read_last_pass_ = 0;

  files_.list_processes(listing_);
  for (const auto& found : listing_) {
    auto& slot = entries_[found.pid];
    const bool first = !slot;
    if (first) {
      slot = std::make_unique<Entry>();
      slot->sample.key.pid = found.pid;
    }
    Entry& entry = *slot;
    entry.alive = true;
    const bool maybe_another = entry.inode != found.inode;
    entry.inode = found.inode;
    if (!first && !maybe_another &&
        (entry.kernel_thread ||
         (pass_ < entry.next_pass && !watched_.contains(entry.sample.key)))) {
      continue;
    }
    ++read_last_pass_;
    entry.alive = read_process(entry, first);
  }

  out.runnable = out.runnable_services = 0;
  std::size_t shown = 0;
  for (const auto& found : listing_) {
    const auto at = entries_.find(found.pid);
    if (at == entries_.end() || !at->second->alive || at->second->kernel_thread) continue;
    Entry& entry = *at->second;
    ProcessSample& s = entry.sample;
    s.age_s = std::max(0.0, static_cast<double>(now_us + boot_offset_us_) / 1e6 -
                                static_cast<double>(s.key.start_ticks) / ticks_per_s_);
    (s.service ? out.runnable_services : out.runnable) += s.demand;
    if (shown == out.processes.size()) out.processes.emplace_back();
    out.processes[shown++] = s;  // assignment into old elements reuses their strings
  }
  out.processes.resize(shown);

  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = *at->second;
    if (entry.alive) {
      entry.alive = false;
      ++at;
    } else {
      kept_fds_ -= (entry.stat_fd ? 1u : 0u) + (entry.schedstat_fd ? 1u : 0u);
      at = entries_.erase(at);
    }
  }
  last_pass_us_ = now_us;
  if (!first_pass) adapt_to_budget(options_.cost_us() - cost_before_us, interval_s);
}

bool ProcessScan::read_process(Entry& entry, bool first) {
  const pid_t pid = entry.sample.key.pid;
  auto stat =
      proc::parse_stat(entry.stat_fd ? files_.read_again(entry.stat_fd) : files_.read(pid, "stat"));
  if (!stat && entry.stat_fd) {
    // The process behind the descriptor has gone; its number may live on in another one.
    entry.stat_fd.reset();
    --kept_fds_;
    stat = proc::parse_stat(files_.read(pid, "stat"));
  }
  if (!stat || stat->pid != pid) return false;
  if (!first && stat->start_ticks != entry.sample.key.start_ticks) {
    kept_fds_ -= (entry.stat_fd ? 1u : 0u) + (entry.schedstat_fd ? 1u : 0u);
    const auto inode = entry.inode;
    entry = Entry{};
    entry.sample.key.pid = pid;
    entry.inode = inode;
    entry.alive = true;
    first = true;
  }
  ProcessSample& s = entry.sample;
  s.key.start_ticks = stat->start_ticks;
  entry.kernel_thread = stat->kernel_thread();
  if (entry.kernel_thread) return true;

  s.ppid = stat->ppid;
  s.process_group = stat->process_group;
  s.session = stat->session;
  s.tty = stat->tty;
  s.state = stat->state;
  s.threads = std::max(stat->threads, 1);
  s.rss_bytes = stat->rss_pages * page_bytes_;
  s.vsz_bytes = stat->vsz_bytes;
  if (first || s.comm != stat->comm) s.comm = stat->comm;

  const std::int64_t now_us = clock_->now_us();
  const std::uint64_t cpu_ticks = stat->utime_ticks + stat->stime_ticks;
  const bool image_changed = first || stat->image_print != entry.image_print;
  const proc::StatLine line = *stat;  // the text behind `comm` goes with the next read
  if (image_changed) {
    entry.image_print = line.image_print;
    read_image(entry, line);
  } else if (--entry.until_uid <= 0) {
    if (const auto uid = proc::parse_status_uid(files_.read(pid, "status"))) s.uid = *uid;
    entry.until_uid = kUidEvery;
  }

  // The interval: since the last reading, or since it was born if that was later.
  const double age_s = static_cast<double>(now_us + boot_offset_us_) / 1e6 -
                       static_cast<double>(s.key.start_ticks) / ticks_per_s_;
  const std::int64_t since_us = first ? last_pass_us_ : entry.read_us;
  const double since_s = static_cast<double>(now_us - since_us) / 1e6;
  // What was there before the first pass has no previous reading to compare with.
  const bool born_since = first && pass_ > 1 && age_s < since_s + 0.01;
  const double dt_s = std::max(born_since ? age_s : since_s, kShortestLife_s);
  entry.read_us = now_us;

  const bool baseline_only = first && !born_since;
  const std::uint64_t new_ticks =
      baseline_only || cpu_ticks < entry.cpu_ticks ? 0 : cpu_ticks - entry.cpu_ticks;
  const double ticks_s = static_cast<double>(new_ticks) / ticks_per_s_;
  entry.cpu_ticks = cpu_ticks;
  s.cpu_s = static_cast<double>(cpu_ticks) / ticks_per_s_;

  const bool dead = s.state == 'Z' || s.state == 'X';
  const bool busy = new_ticks > 0 || s.state == 'R';
  double run_s = ticks_s;
  double wait_s = 0;
  if (!dead && (first || busy)) wait_s = read_wait(entry, ticks_s, born_since, s.threads, run_s);
  if (baseline_only) {
    run_s = wait_s = 0;
  }
  entry.waited_s += wait_s;
  s.wanted_s = s.cpu_s + entry.waited_s;

  const double threads = static_cast<double>(s.threads);
  s.cpu_share = std::min(run_s / dt_s, threads);
  s.demand = std::min((run_s + wait_s) / dt_s, threads);
  if (entry.threads.empty() && s.state == 'R') s.demand = std::max(s.demand, 1.0);
  if (!entry.averaging) {
    s.cpu_share_smoothed = s.cpu_share;
    s.demand_smoothed = s.demand;
    entry.averaging = !baseline_only;
  } else {
    s.cpu_share_smoothed = smooth(s.cpu_share_smoothed, s.cpu_share, dt_s, options_.smoothing_s);
    s.demand_smoothed = smooth(s.demand_smoothed, s.demand, dt_s, options_.smoothing_s);
  }
  schedule(entry, busy && !dead);
  return true;
}

Result<ProcessSample> ProcessScan::look(pid_t pid) {
  const auto who = [&] { return "process " + std::to_string(pid); };
  if (pid <= 0) return Error(ErrorCode::kUsage, who() + ": no such number can be");
  const auto stat = proc::parse_stat(files_.read(pid, "stat"));
  if (!stat || stat->pid != pid) return Error(ErrorCode::kGone, who() + ": there is none");
  if (stat->kernel_thread()) return Error(ErrorCode::kRefused, who() + ": a kernel thread");
  if (stat->state == 'Z' || stat->state == 'X') {
    return Error(ErrorCode::kRefused, who() + ": has ended (zombie)");
  }
  Entry entry;
  ProcessSample& s = entry.sample;
  s.key = {pid, stat->start_ticks};
  s.ppid = stat->ppid;
  s.process_group = stat->process_group;
  s.session = stat->session;
  s.tty = stat->tty;
  s.state = stat->state;
  s.threads = std::max(stat->threads, 1);
  s.rss_bytes = stat->rss_pages * page_bytes_;
  s.vsz_bytes = stat->vsz_bytes;
  s.cpu_s = static_cast<double>(stat->utime_ticks + stat->stime_ticks) / ticks_per_s_;
  s.wanted_s = s.cpu_s;
  s.age_s = std::max(0.0, static_cast<double>(clock_->now_us() + boot_offset_us_) / 1e6 -
                              static_cast<double>(s.key.start_ticks) / ticks_per_s_);
  s.comm = stat->comm;
  const proc::StatLine line = *stat;  // the text behind `comm` goes with the next read
  read_image(entry, line);
  return std::move(entry.sample);
}

// Reads the threads' schedstat. Returns the seconds they waited since the last reading, and
// replaces `run_s` (known in ticks of 10 ms) by the exact value if all threads could be read.
double ProcessScan::read_wait(Entry& entry, double cpu_ticks_s, bool born_since,
                              std::int32_t thread_count, double& run_s) {
  const pid_t pid = entry.sample.key.pid;
  std::uint64_t run_ns = 0;
  std::uint64_t wait_ns = 0;
  // A thread not seen before was born in this interval if its process was followed until now.
  const bool followed = born_since || !entry.threads.empty();
  const auto take = [&](pid_t tid, const proc::SchedStat& now) {
    const auto [at, is_new] = entry.threads.try_emplace(tid, now);
    proc::SchedStat& before = at->second;
    if (is_new) {
      if (!followed) {
        entry.waited_s += static_cast<double>(now.wait_ns) / 1e9;  // what it waited before we came
        return;
      }
      before = {};
    }
    if (now.run_ns >= before.run_ns && now.wait_ns >= before.wait_ns) {
      run_ns += now.run_ns - before.run_ns;
      wait_ns += now.wait_ns - before.wait_ns;
    }
    before = now;
  };

  if (thread_count == 1) {
    if (entry.threads.size() > 1)
      std::erase_if(entry.threads, [&](auto& t) { return t.first != pid; });
    const auto text =
        entry.schedstat_fd ? files_.read_again(entry.schedstat_fd) : files_.read(pid, "schedstat");
    if (const auto now = proc::parse_schedstat(text)) take(pid, *now);
  } else {
    if (!files_.list_threads(pid, threads_)) return 0;
    const std::size_t stride = (threads_.size() + options_.threads_read_max - 1) /
                               std::max<std::size_t>(options_.threads_read_max, 1);
    if (entry.threads.size() > 2 * threads_.size() + 16) {
      std::erase_if(entry.threads, [&](auto& t) {
        return !std::binary_search(threads_.begin(), threads_.end(),
                                   ProcFiles::PidEntry{t.first, 0},
                                   [](auto& a, auto& b) { return a.pid < b.pid; });
      });
    }
    for (const auto& thread : threads_) {
      // Always the same ones, so that there is something to compare with.
      if (stride > 1 && static_cast<std::size_t>(thread.pid) % stride != 0) continue;
      if (const auto now =
              proc::parse_schedstat(files_.read_thread(pid, thread.pid, "schedstat"))) {
        take(thread.pid, *now);
      }
    }
    if (stride > 1) {
      const double seen_s = static_cast<double>(run_ns) / 1e9;
      const double scale =
          seen_s > 0.01 && cpu_ticks_s > 0 ? cpu_ticks_s / seen_s : static_cast<double>(stride);
      return static_cast<double>(wait_ns) / 1e9 *
             std::clamp(scale, 1.0, static_cast<double>(threads_.size()));
    }
  }
  if (!entry.threads.empty()) {
    // Threads that ended meanwhile are missing in the sum; ticks are missing up to one grain.
    run_s = std::max(static_cast<double>(run_ns) / 1e9, cpu_ticks_s - 1.0 / ticks_per_s_);
  }
  return static_cast<double>(wait_ns) / 1e9;
}

void ProcessScan::read_image(Entry& entry, const proc::StatLine& stat) {
  ProcessSample& s = entry.sample;
  s.exe = files_.read_link(stat.pid, "exe");
  s.exe_deleted = s.exe.ends_with(kDeleted);
  if (s.exe_deleted) s.exe.resize(s.exe.size() - kDeleted.size());
  s.service = is_own_program(s.exe);
  if (const auto uid = proc::parse_status_uid(files_.read(stat.pid, "status"))) s.uid = *uid;
  entry.until_uid = kUidEvery;
}

// When it is read next, and whether its descriptors stay open.
void ProcessScan::schedule(Entry& entry, bool busy) {
  if (busy) {
    entry.quiet = 0;
    entry.next_pass = pass_ + 1;
    const pid_t pid = entry.sample.key.pid;
    if (!entry.stat_fd && kept_fds_ < options_.kept_fds_max) {
      entry.stat_fd = files_.open_file(pid, "stat");
      if (entry.stat_fd) ++kept_fds_;
    }
    if (!entry.schedstat_fd && entry.sample.threads == 1 && kept_fds_ < options_.kept_fds_max) {
      entry.schedstat_fd = files_.open_file(pid, "schedstat");
      if (entry.schedstat_fd) ++kept_fds_;
    }
    return;
  }
  ++entry.quiet;
  if (entry.quiet < kQuietReadings) {
    entry.next_pass = pass_ + 1;
    return;
  }
  if (entry.stat_fd) entry.stat_fd.reset(), --kept_fds_;
  if (entry.schedstat_fd) entry.schedstat_fd.reset(), --kept_fds_;
  // First every 2nd pass, then the full distance; spread over the passes by PID.
  const auto every = static_cast<std::uint64_t>(entry.quiet == kQuietReadings ? 2 : idle_every_);
  const auto phase = static_cast<std::uint64_t>(entry.sample.key.pid) % every;
  entry.next_pass = pass_ + 1 + (every + phase - (pass_ + 1) % every) % every;
}

void ProcessScan::adapt_to_budget(std::int64_t cost_us, double interval_s) {
  if (interval_s <= 0) return;
  const double share = static_cast<double>(cost_us) / 1e6 / interval_s;
  cost_share_ = pass_ == 2 ? share : smooth(cost_share_, share, interval_s, 5);
  if (pass_ % 8 != 0) return;
  if (cost_share_ > options_.budget) {
    idle_every_ = std::min(idle_every_ * 2, options_.idle_every_max);
  } else if (cost_share_ < options_.budget / 3) {
    idle_every_ = std::max(idle_every_ / 2, options_.idle_every_min);
  }
}

}  // namespace ssi
