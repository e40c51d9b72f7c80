// Which processes of this node move together: guests of several processes, and what shares memory
// here. Looked at once a second, as far as it matters: of processes that are load-levelled.
//
// Owned by the balancer; control loop only.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "loadlevel/metrics/process_sample.h"
#include "ssid/base/ids.h"
#include "ssid/daemon/guests.h"

namespace ssi {

class NodeUnits {
 public:
  explicit NodeUnits(NodeId self) : self_(self) {}

  // `firsts`: of guests, the local PID of the process that each began with.
  void update(const std::vector<ProcessSample>& processes, const Guests& guests,
              const std::map<SsiPid, pid_t>& firsts,
              const std::function<bool(const ProcessSample&)>& enabled);
  // Of those that are in one, by their PID in this node's /proc.
  const SsiPid* unit_of(pid_t local) const;
  // What it adds to the size of its unit: memory that is shared counts for the first only.
  std::uint64_t own_bytes(const ProcessSample& process) const;

 private:
  void add_guests(const Guests& guests, const std::map<SsiPid, pid_t>& firsts);
  void add_sharers(const std::vector<ProcessSample>& processes,
                   const std::function<bool(const ProcessSample&)>& enabled);

  const NodeId self_;
  std::map<pid_t, SsiPid> units_;
  std::map<pid_t, pid_t> first_;       // local PIDs: of each in a unit, the one it begins with
  std::map<ProcessKey, pid_t> roots_;  // of enabled processes that wanted a CPU
};

}  // namespace ssi
