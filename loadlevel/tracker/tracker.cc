#include "loadlevel/tracker/tracker.h"

#include <algorithm>
#include <charconv>

namespace ssi {
namespace {

constexpr std::string_view kHeader = "ssid loadlevel tracker 1";

bool untouchable(const ProcessSample& p) { return p.key.pid == 1 || p.service; }

// One update: decides each process after its parent.
class Pass {
 public:
  Pass(const std::vector<ProcessSample>& processes)
      : processes_(processes), done_(processes.size()) {
    by_pid_.reserve(processes.size());
    for (std::size_t i = 0; i < processes.size(); ++i) by_pid_.emplace(processes[i].key.pid, i);
  }

  template <typename Decide>
  void run(Decide decide) {
    std::vector<std::size_t> line;
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      // Up to the first ancestor that is decided, then down again. `done_` also ends a circle,
      // which samples taken one after the other may show when PIDs are reused.
      for (std::size_t at = i; !done_[at];) {
        done_[at] = true;
        line.push_back(at);
        const auto parent = by_pid_.find(processes_[at].ppid);
        if (parent == by_pid_.end()) break;
        at = parent->second;
      }
      for (; !line.empty(); line.pop_back()) {
        const auto& process = processes_[line.back()];
        const auto parent = by_pid_.find(process.ppid);
        decide(process, parent == by_pid_.end() ? nullptr : &processes_[parent->second]);
      }
    }
  }

 private:
  const std::vector<ProcessSample>& processes_;
  std::vector<bool> done_;
  std::unordered_map<pid_t, std::size_t> by_pid_;
};

}  // namespace

void Tracker::update(const std::vector<ProcessSample>& processes, const ResolvedList& list) {
  std::unordered_set<ProcessKey> now;
  now.reserve(processes.size());
  for (const auto& p : processes) now.insert(p.key);
  const auto gone = [&](ProcessKey key) { return !now.contains(key) && !fresh_.contains(key); };
  std::erase_if(records_, [&](const auto& record) { return gone(record.first); });
  std::erase_if(seen_, gone);
  fresh_.clear();
  Pass(processes).run(
      [&](const ProcessSample& p, const ProcessSample* parent) { decide(p, parent, list); });
}

void Tracker::notice(const ProcessSample& process, const ProcessSample* parent,
                     const ResolvedList& list) {
  decide(process, parent, list);
  fresh_.insert(process.key);
}

void Tracker::decide(const ProcessSample& p, const ProcessSample* parent,
                     const ResolvedList& list) {
  if (untouchable(p)) {
    records_.erase(p.key);
    return;
  }
  const bool is_new = seen_.insert(p.key).second;
  const auto known = records_.find(p.key);
  if (known != records_.end()) {
    const Enablement& state = known->second;
    const bool line_removed =
        state.source == Enablement::Source::kList && !state.arrived && !list.has_entry(state.from);
    if (!line_removed) return;
    records_.erase(known);
    if (options_.mark) options_.mark(p.key, false);
  }
  if (const auto entry = list.entry_for(p.exe); !entry.empty()) {
    keep(p.key, {.on = true, .source = Enablement::Source::kList, .from = std::string(entry)});
    return;
  }
  // A parent is older than its child; a younger one only has the number.
  const bool real_parent = parent && parent->key.start_ticks <= p.key.start_ticks;
  const bool from_parent = real_parent && enabled(parent->key);
  if (!from_parent && !(is_new && options_.marked && options_.marked(p.key))) return;
  std::string from = "a process that was enabled";
  if (from_parent) {
    const pid_t pid = parent->key.pid;
    from = options_.name_of ? options_.name_of(pid) : std::to_string(pid);
  }
  keep(p.key, {.on = true, .source = Enablement::Source::kInherited, .from = std::move(from)});
}

void Tracker::keep(ProcessKey key, Enablement state) {
  if (options_.mark) options_.mark(key, state.on);
  records_[key] = std::move(state);
}

Result<> Tracker::set(const ProcessSample& p, Enablement state) {
  const auto refuse = [&](const char* why) {
    return Error(ErrorCode::kRefused, "process " + std::to_string(p.key.pid) + ": " + why);
  };
  if (p.key.pid == 1) return refuse("the first process of the node is never moved");
  if (p.service) return refuse("belongs to ssid itself");
  keep(p.key, std::move(state));
  fresh_.insert(p.key);
  return {};
}

Result<> Tracker::enable(const ProcessSample& process, std::uint32_t by_uid) {
  return set(process, {.on = true, .by_uid = by_uid});
}

Result<> Tracker::disable(const ProcessSample& process, std::uint32_t by_uid) {
  return set(process, {.on = false, .by_uid = by_uid});
}

Result<> Tracker::pin(const ProcessSample& process, std::uint32_t by_uid) {
  return set(process, {.on = false, .pinned = true, .by_uid = by_uid});
}

void Tracker::adopt(ProcessKey key, Enablement state) {
  state.arrived = true;
  keep(key, std::move(state));
  fresh_.insert(key);
}

void Tracker::forget(ProcessKey key) { records_.erase(key); }

const Enablement* Tracker::find(ProcessKey key) const {
  const auto at = records_.find(key);
  return at == records_.end() ? nullptr : &at->second;
}

bool Tracker::enabled(ProcessKey key) const {
  const Enablement* state = find(key);
  return state && state->on;
}

bool Tracker::pinned(ProcessKey key) const {
  const Enablement* state = find(key);
  return state && state->pinned;
}

std::string Tracker::reason(ProcessKey key) const {
  const Enablement* state = find(key);
  return state ? state->reason() : "not enabled";
}

std::vector<ProcessKey> Tracker::enabled() const {
  std::vector<ProcessKey> keys;
  for (const auto& [key, record] : records_) {
    if (record.on) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::string Tracker::save() const {
  std::vector<std::pair<ProcessKey, const Enablement*>> all;
  for (const auto& [key, record] : records_) all.emplace_back(key, &record);
  std::sort(all.begin(), all.end());
  std::string text = std::string(kHeader) + "\n";
  for (const auto& [key, state] : all) {
    text += std::to_string(key.pid) + " " + std::to_string(key.start_ticks) + " " +
            state->to_line() + "\n";
  }
  return text;
}

std::size_t Tracker::load(std::string_view text) {
  std::size_t skipped = 0;
  bool header = true;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (std::exchange(header, false)) {
      if (line == kHeader) continue;
      return 1;  // another version: better nothing than something wrong
    }
    ProcessKey key;
    const char* end = line.data() + line.size();
    const auto pid = std::from_chars(line.data(), end, key.pid);
    if (pid.ec != std::errc{} || key.pid <= 1 || pid.ptr == end || *pid.ptr != ' ') {
      ++skipped;
      continue;
    }
    const auto start = std::from_chars(pid.ptr + 1, end, key.start_ticks);
    if (start.ec != std::errc{} || start.ptr == end || *start.ptr != ' ') {
      ++skipped;
      continue;
    }
    auto state =
        Enablement::from_line({start.ptr + 1, static_cast<std::size_t>(end - start.ptr - 1)});
    if (!state) {
      ++skipped;
      continue;
    }
    records_[key] = std::move(*state);
  }
  return skipped;
}

}  // namespace ssi
