#include "ssid/daemon/node_units.h"

#include <cstdlib>
#include <set>

#include "migrate/check/unit_root.h"
#include "ssid/base/proc_status.h"

namespace ssi {
namespace {

// What is in a realm is a guest's, or will be one's in a moment.
pid_t root_of(pid_t local, const std::function<bool(pid_t parent)>& may_be_anothers) {
  return innermost_pid(local) == local ? check::unit_root(local, may_be_anothers) : local;
}

}  // namespace

void NodeUnits::update(const std::vector<ProcessSample>& processes, const Guests& guests,
                       const std::map<SsiPid, pid_t>& firsts,
                       const std::function<bool(const ProcessSample&)>& enabled) {
  units_.clear();
  first_.clear();
  add_guests(guests, firsts);
  add_sharers(processes, enabled);
}

void NodeUnits::add_guests(const Guests& guests, const std::map<SsiPid, pid_t>& firsts) {
  for (const auto& [pid, record] : guests.all()) {
    const auto here = guests.host_pids(record);
    if (here.size() < 2) continue;
    const auto first = firsts.find(pid);
    for (const pid_t local : here) {
      units_[local] = pid;
      first_[local] = first == firsts.end() ? here.front() : first->second;
    }
  }
}

// The root of one that shares memory is looked for once; all that are below it belong to it. It may
// be another user's (nginx's workers) if it is enabled itself.
void NodeUnits::add_sharers(const std::vector<ProcessSample>& processes,
                            const std::function<bool(const ProcessSample&)>& enabled) {
  std::map<pid_t, const ProcessSample*> by_pid;
  for (const ProcessSample& p : processes) by_pid[p.key.pid] = &p;
  const auto is_enabled = [&](pid_t pid) {
    const auto p = by_pid.find(pid);
    return p != by_pid.end() && enabled(*p->second);
  };
  std::map<ProcessKey, pid_t> roots;
  std::set<pid_t> of_units;
  for (const ProcessSample& p : processes) {
    if (p.demand_smoothed <= 0 || units_.contains(p.key.pid) || !enabled(p)) continue;
    const auto known = roots_.find(p.key);
    const pid_t root = known != roots_.end() ? known->second : root_of(p.key.pid, is_enabled);
    roots.emplace(p.key, root);
    if (root != p.key.pid) of_units.insert(root);
  }
  roots_ = std::move(roots);
  for (const ProcessSample& p : processes) {
    if (of_units.empty() || units_.contains(p.key.pid)) continue;
    pid_t above = p.key.pid;
    for (int steps = 0; steps < 64 && above > 1 && !of_units.contains(above); ++steps) {
      const auto known = by_pid.find(above);
      above = known == by_pid.end() ? 0 : known->second->ppid;
    }
    if (!of_units.contains(above)) continue;
    units_[p.key.pid] = {self_, above};
    first_[p.key.pid] = above;
  }
}

const SsiPid* NodeUnits::unit_of(pid_t local) const {
  const auto unit = units_.find(local);
  return unit == units_.end() ? nullptr : &unit->second;
}

std::uint64_t NodeUnits::own_bytes(const ProcessSample& process) const {
  const auto first = first_.find(process.key.pid);
  if (first == first_.end() || first->second == process.key.pid) return process.rss_bytes;
  return std::strtoull(proc_status_line(process.key.pid, "RssAnon").c_str(), nullptr, 10) * 1024;
}

}  // namespace ssi
