// Who waits at the sockets of a process: what a dump would lose, because it lies in the kernel and
// belongs to no connection of the process yet.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "migrate/net/moved_socket.h"
#include "ssid/base/result.h"

namespace ssi::check {

// A connection that is being made or was not accepted yet, or a datagram that was not read yet; at
// any of these processes, which are in one network namespace. kGone: the first has ended.
Result<bool> anybody_waits_at(const std::vector<pid_t>& pids);

// Where they would come to: the sockets of these processes that listen, or take datagrams.
Result<std::vector<net::MovedSocket>> doors_of(const std::vector<pid_t>& pids);

// Until nobody waits at them. Who does is taken in only by a process that runs. kBusy: not within
// 300 ms.
Result<> await_quiet(const std::vector<pid_t>& pids);

// Of the kernel's list (/proc/PID/net/tcp or udp): pure.
struct Doors {
  std::set<std::uint64_t> inodes;  // sockets that listen, or take datagrams
  std::set<unsigned> ports;        // of those that listen
};
bool anybody_waits_in(const std::string& list, const Doors& doors);

}  // namespace ssi::check
