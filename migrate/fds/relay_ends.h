// What a process gets in place of a unix socket whose other end stays at home: one end of a pair,
// or of a connection to a socket of its own that listens, the other of which the carrier relays.
#pragma once

#include <sys/types.h>

#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// Whom the kernel names when the process asks who is at the other end (SO_PEERCRED).
struct PeerIdentity {
  uid_t uid = 0;
  gid_t gid = 0;
};
PeerIdentity peer_identity(int socket);

struct RelayEnds {
  UniqueFd guests;  // none if the process accepts it
  UniqueFd ours;
  UniqueFd diag;  // to ask how much of what we wrote is not read yet
};

// In that network namespace, as if the peer had made it: a process that asks for its peer is never
// told that it speaks with root because ssid is root. (The peer's PID is not told: 0.)
// `type`: SOCK_STREAM ..
Result<RelayEnds> make_relay_ends(int network_namespace, PeerIdentity peer, int type);

// The same, connected with the process that listens there: `address` is the path of its socket, as
// seen from the directory `root`, or an abstract name of that network namespace. kGone: nobody
// listens. kTimeout: it has too many that wait already.
Result<RelayEnds> connect_relay_end(int network_namespace, PeerIdentity peer, int root,
                                    const std::string& address, int type);

// Of that network namespace.
Result<UniqueFd> make_datagram_socket(int network_namespace);
// Where it sends from now on: `address` as above. Thread of that namespace not needed.
Result<> connect_datagrams(int socket, int root, const std::string& address);

}  // namespace ssi::fds
