#include "loadlevel/policy/units.h"

#include <algorithm>
#include <utility>

namespace ssi {
namespace {

void add(ProcessLoad& unit, const ProcessLoad& member) {
  unit.enabled = unit.enabled && member.enabled;
  unit.pinned = unit.pinned || member.pinned;
  unit.moving = unit.moving || member.moving;
  if (member.state == 'R') unit.state = 'R';
  unit.demand += member.demand;
  unit.rss_bytes += member.rss_bytes;
  unit.wanted_s = std::max(unit.wanted_s, member.wanted_s);
}

}  // namespace

std::vector<ProcessLoad> merge_units(std::vector<ProcessLoad> processes,
                                     const std::map<SsiPid, SsiPid>& unit_of) {
  std::vector<ProcessLoad> merged;
  std::map<SsiPid, std::size_t> at;  // of units, in `merged`
  for (ProcessLoad& process : processes) {
    const auto unit = unit_of.find(process.pid);
    if (unit == unit_of.end()) {
      merged.push_back(std::move(process));
      continue;
    }
    process.pid = unit->second;
    const auto [known, is_new] = at.emplace(unit->second, merged.size());
    if (is_new) {
      merged.push_back(std::move(process));
    } else {
      add(merged[known->second], process);
    }
  }
  return merged;
}

}  // namespace ssi
