// Sockets to the kernel (netlink(7)). One that only asks, and got all its answers, is made anew
// where its process goes, with its number ("portid"), by which the kernel answers it: criu binds it
// to that, and tells nobody if somebody else has it there. So it is looked at again after a
// restore.
//
// Rejected: protocols by which the kernel keeps something for a socket (nfnetlink, generic netlink,
// audit), which would be lost.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

struct NetlinkSocket {
  int protocol = 0;
  int type = SOCK_RAW;
  std::uint32_t port = 0;  // 0: it has sent nothing yet
  bool subscribed = false;
  bool has_peer = false;  // another one than the kernel
  bool unread = false;    // an answer, or an error
  bool of_other_network = false;
  std::string option;  // that criu would forget; "": none
};

// `pid`: whose socket it is, in this node's /proc. Any thread.
NetlinkSocket read_netlink_socket(int socket, pid_t pid);

// Why it stays, as the end of a sentence; "": it does not. Pure.
std::string why_netlink_stays(const NetlinkSocket& socket);

// The numbers of all that a process has. Any thread.
Result<std::set<std::uint32_t>> netlink_ports(pid_t pid);

// kRefused: these processes were made anew, and do not have all of these numbers.
Result<> check_netlink_ports(const std::vector<pid_t>& pids, std::set<std::uint32_t> numbers);

}  // namespace ssi::fds
