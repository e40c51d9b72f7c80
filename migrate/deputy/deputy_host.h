// The ssid side of deputies: their messages as types, their socket, and what ssid does to a deputy.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "migrate/deputy/deputy_protocol.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::deputy {

using FromDeputy = std::variant<Hello, Signal, StopEnded, NotBorn>;
using ToDeputy = std::variant<SignalAck, Exit, Die, Stop, Birth>;

// `packet` is one packet as received (ask for kMessageBytesMax + 1 bytes, to see longer ones). An
// error means that the connection is to be closed. Pure.
Result<FromDeputy> parse(std::span<const std::byte> packet);
std::vector<std::byte> encode(const ToDeputy& message);

// Who is at the other end of an accepted connection: as the kernel says, not as it says.
struct Peer {
  pid_t pid = 0;  // in our PID namespace
  uid_t uid = 0;
  UniqueFd pidfd;
};
Result<Peer> peer_of(int connection);

// A listening, non-blocking SOCK_SEQPACKET socket that every user's deputy may connect to (mode
// 0666). An old socket file at `path` is replaced.
Result<UniqueFd> listen_for_deputies(const std::string& path);

// A connection of a deputy, for who has no event loop of his own: non-blocking, one packet a call.
// receive: kTimeout if there is nothing now, kGone at the end. Any thread, one at a time.
Result<FromDeputy> receive(int connection);
Result<> send(int connection, const ToDeputy& message);

// Lets a stopped deputy go on, so that its parent sees it continued; it does not forward this
// SIGCONT.
Result<> continue_deputy(int pidfd);

}  // namespace ssi::deputy
