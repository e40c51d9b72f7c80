// What only a unix socket itself tells: whether its name still leads to it, and the descriptors
// that wait in its queue. Drivers; `socket` is a duplicate of the process's own.
#pragma once

#include <cstdint>
#include <vector>

#include "migrate/fds/unix_socket.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

UnixSocketState read_state(int socket);

// Descriptors that were sent to it and not yet received, looked at without taking them; `expected`:
// so many the kernel says there are. If the process runs it may take some of them meanwhile.
// Errors: not all of them could be seen.
Result<std::vector<UniqueFd>> peek_descriptors(int socket, unsigned expected);

// How many messages wait in a datagram socket, whose process stands still.
std::uint32_t count_datagrams(int socket);

}  // namespace ssi::fds
