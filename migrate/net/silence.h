// The end of sockets that live on elsewhere: nobody is told. Without it a copy of a process that is
// destroyed (or replaced by the deputy) would say FIN or RST to its peers.
#pragma once

#include <sys/types.h>

#include "ssid/base/result.h"

namespace ssi::net {

// `pid` stands still and will never run again. TCP connections of it are put in repair mode, in
// which they end without a packet; listening sockets stop to listen. Any thread; needs
// CAP_SYS_PTRACE and CAP_NET_ADMIN.
Result<> silence_sockets(pid_t pid);

}  // namespace ssi::net
