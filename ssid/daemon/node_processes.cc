#include "ssid/daemon/node_processes.h"

#include <fstream>
#include <iterator>
#include <string_view>

#include "ssid/base/proc_status.h"

namespace ssi {
namespace {

using migrate::CopyName;

// Whether a process is a part of a guest's copy, by the cgroup that it is in. What a guest has
// started here is there, too, and is none.
bool is_copy(const Guests& guests, pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cgroup");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  constexpr std::string_view kGuests = "/guests/";
  const auto at = text.rfind(kGuests);
  if (at == std::string::npos) return false;
  const auto name = CopyName::parse(std::string_view(text).substr(
      at + kGuests.size(), text.find_first_of(" \n/", at + kGuests.size()) - at - kGuests.size()));
  if (!name) return false;
  // One that is being built here, or is over.
  const GuestRecord* const guest = guests.find(name->pid);
  if (guest == nullptr || guest->ticket.epoch != name->epoch) return true;
  const SsiPid inside{name->pid.home, innermost_pid(pid)};
  if (inside == name->pid) return true;
  const auto record = guests.records().load(*name);
  return record && record->has(inside);
}

}  // namespace

NodeProcesses::NodeProcesses(const GroupPort& group, const ProcessControl& control)
    : group_(group), control_(control) {
  const Guests& here = control.guests();
  for (const group::TableEntry& entry : group.entries()) {
    if (entry.process.home == group.self()) away_[entry.process.pid] = entry.start_time;
    if (entry.where != group.self()) continue;
    // The group may have decided that it is ours just now, and nobody here have acted on it yet.
    std::optional<GuestRecord> record;
    const SsiPid first{entry.process.home, entry.unit != 0 ? entry.unit : entry.process.pid};
    if (const GuestRecord* known = here.find(first);
        known != nullptr && known->ticket.epoch == entry.epoch) {
      record = *known;
    } else {
      record = here.records().load({first, entry.epoch});
    }
    const auto local = record ? here.host_pid(*record, entry.process) : std::nullopt;
    if (local) guests_[*local] = {entry.process, entry.nmigs};
  }
}

bool NodeProcesses::is_away(const ProcessKey& key) const {
  const auto at = away_.find(key.pid);
  return at != away_.end() && at->second == key.start_ticks;
}

std::optional<NodeProcesses::Named> NodeProcesses::find(const ProcessKey& key) const {
  if (const auto guest = guests_.find(key.pid); guest != guests_.end()) return guest->second;
  if (is_away(key) || control_.is_deputy(key.pid) || is_copy(control_.guests(), key.pid)) {
    return std::nullopt;
  }
  return Named{{group_.self(), key.pid}, 0};
}

}  // namespace ssi
