// Turns "move PID to NODE" into what the movers need: is it here, may it move, what are its
// streams? The checks that need only this node, before anything is frozen. Any thread;
// milliseconds.
#pragma once

#include <optional>

#include "migrate/move/source_move.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/daemon/guest_record.h"

namespace ssi {

struct PreparedMove {
  migrate::MoveTicket ticket;
  migrate::MoveSource source;
  std::vector<UniqueFd> held;  // descriptors that source.to_export names
};

// An original that runs at home, here. kRefused with every reason if it can't move; kGone.
Result<PreparedMove> prepare_original(NodeId self, pid_t pid, NodeId to, Epoch epoch);

// A guest that runs here, as `host_pid` in this node's /proc.
Result<PreparedMove> prepare_guest(const GuestRecord& record, pid_t host_pid, NodeId to,
                                   const std::string& realm_socket);

}  // namespace ssi
