// The kernel's list of unix sockets, asked over netlink (sock_diag(7)).
#pragma once

#include <sys/types.h>

#include <span>

#include "migrate/fds/unix_socket.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// Those of the network namespace in which that process lives. Blocks for a moment; any thread.
Result<UnixTable> read_unix_sockets(pid_t pid);

// A socket on which to ask for those of the namespace of the calling thread.
Result<UniqueFd> open_unix_diag();

// One of them; none: there is no such socket (any more).
std::optional<UnixSocket> ask_unix_socket(int diag, SocketInode inode);

// Pure: one answer of the kernel, which holds many messages. True: it was the last.
Result<bool> add_unix_diag(UnixTable& table, std::span<const std::byte> answer);

}  // namespace ssi::fds
