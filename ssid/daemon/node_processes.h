// What the processes in this node's /proc are to the users of the cluster: a guest has the PID of
// its home, a deputy is no process at all, and neither is a copy that is not the process yet or not
// any more.
//
// Goes by the process table: of nodes that look at the same place of the group's order, exactly one
// finds a given process. Made for one answer and dropped; control loop only.
#pragma once

#include <map>
#include <optional>

#include "loadlevel/metrics/process_sample.h"
#include "ssid/daemon/process_control.h"

namespace ssi {

class NodeProcesses {
 public:
  NodeProcesses(const GroupPort& group, const ProcessControl& control);

  struct Named {
    SsiPid pid;
    std::uint32_t nmigs = 0;
  };
  // nullopt: not a process of this node. One that has ended meanwhile may still be found.
  std::optional<Named> find(const ProcessKey& key) const;

  // Guests that run here, by their PIDs in this node's /proc.
  const std::map<pid_t, Named>& guests() const { return guests_; }
  // Whether this is what stays here, its home, of a process that is a guest somewhere.
  bool is_away(const ProcessKey& key) const;

 private:
  const GroupPort& group_;
  const ProcessControl& control_;
  std::map<pid_t, Named> guests_;
  std::map<pid_t, std::uint64_t> away_;  // their start times
};

}  // namespace ssi
