// Turns "move PID to NODE" into what the movers need: is it here, may it move, what are its
// streams? The checks that need only this node, before anything is frozen. Any thread;
// milliseconds.
#pragma once

#include <optional>

#include "migrate/move/source_move.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/daemon/guest_record.h"
#include "ssid/daemon/movable.h"

namespace ssi {

struct PreparedMove {
  migrate::MoveTicket ticket;
  migrate::MoveSource source;
  std::vector<UniqueFd> held;  // descriptors that source.to_export names
};

// A guest's, in this node's /proc.
struct GuestPids {
  pid_t first = 0;         // the one that was moved
  std::vector<pid_t> all;  // all that is in its cgroup
};

// An original that runs at home, here. kRefused with every reason if it can't move; kGone.
Result<PreparedMove> prepare_original(NodeId self, pid_t pid, NodeId to, Epoch epoch, Below below);

// A guest that runs here, with all that is below it.
Result<PreparedMove> prepare_guest(const GuestRecord& record, const GuestPids& pids, NodeId to,
                                   const std::string& realm_socket);

}  // namespace ssi
