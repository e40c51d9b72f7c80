// What is to be known of a process's sockets, and of the descriptors on their way to it.
#pragma once

#include <string>
#include <vector>

#include "migrate/check/facts.h"
#include "migrate/check/proc_dir.h"
#include "migrate/check/socket_table.h"
#include "ssid/base/result.h"

namespace ssi::check {

// "TCP", "UNIX-STREAM", "NETLINK": also of sockets that no table lists, as those that were never
// bound. `path` leads to the socket.
std::string socket_protocol(const std::string& path);
FdKind socket_kind(const std::string& protocol);

// What the kernel's lists would say of a TCP, UDP or UDP-Lite socket: of itself, which is quicker,
// as for a list the kernel walks through all of its table. nullopt: it is in no list, as it has no
// name yet. kUsage: it is of another kind. Any thread.
Result<std::optional<SocketWords>> words_of_socket(int socket);

// Completes the network sockets among `fds`.
void add_inet_facts(const ProcDir& proc, std::vector<FdFact>& fds);

// Of sockets to the kernel: why one stays.
void add_netlink_facts(const ProcDir& proc, std::vector<FdFact>& fds);

// Completes the unix sockets among `fds`, and adds what is in flight to them.
Result<> add_unix_facts(const ProcDir& proc, std::vector<FdFact>& fds);

}  // namespace ssi::check
