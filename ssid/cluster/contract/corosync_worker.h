// The process of the contract suite that runs in one node: the real driver, its observations and
// answers as lines on a SOCK_SEQPACKET socket.
#pragma once

#include <sys/types.h>

namespace ssi {

// Enters the namespaces of `node_process`, runs until the socket is closed; never returns.
[[noreturn]] void run_corosync_worker(pid_t node_process, int socket);

}  // namespace ssi
