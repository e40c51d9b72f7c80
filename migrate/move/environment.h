// What a mover needs of its node. The daemon implements these; the movers' threads call them, so
// every method is thread-safe and may block.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "migrate/freezer/freezer_cgroup.h"
#include "migrate/move/ticket.h"
#include "migrate/pages/uffd_helper.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// The carrier's relaying of pipes, on whatever node the caller is.
class StreamPort {
 public:
  virtual ~StreamPort() = default;
  // Home: `fd` is the end of the pipe that process `pid` has; the carrier takes a duplicate, and
  // lets it go when the process (or the deputy that it becomes) has ended.
  virtual Result<> export_at_home(const StreamRef& stream, int fd, pid_t pid) = 0;
  // Where the guest will run: the end that it gets. Nothing flows before start().
  virtual Result<UniqueFd> attach(NodeId home, const StreamRef& stream) = 0;
  virtual Result<> start(const StreamRef& stream) = 0;
  // Where the (frozen) guest is: everything it wrote is at home, everything it has not read is back
  // there.
  virtual Result<> drain(const StreamRef& stream) = 0;
  // Undoes drain(): the move was given up.
  virtual Result<> resume(const StreamRef& stream) = 0;
  // Where the guest was or would have been: this node has no part in the stream any more.
  virtual void detach(const StreamRef& stream) = 0;
  // Home: the guest has ended, or never left.
  virtual void close_at_home(const StreamRef& stream) = 0;
};

// What the daemon decides for the movers.
class MoveHost {
 public:
  virtual ~MoveHost() = default;
  // Makes sure that the realm of `home` stands here; the path of its init's socket.
  virtual Result<std::string> prepare_realm(NodeId home) = 0;
  // Target, before the restore: the realm shows home's files as they are now, not as they were a
  // second ago.
  virtual Result<> refresh_files(NodeId home) = 0;
  // Source: sends the ordered commit and waits until it was delivered, or can't be any more.
  virtual CommitFate commit(const MoveTicket& ticket) = 0;
  // Source: says in the same order that this epoch will not come.
  virtual void abandon(const MoveTicket& ticket, const std::string& reason) = 0;
  // Target: waits until the ticket's commit was delivered, or can't be any more.
  virtual CommitFate await_commit(const MoveTicket& ticket) = 0;
  // Target: writes down, before anybody is told of the copy, what a restarted ssid must know of it.
  virtual Result<> remember_guest(const MoveTicket& ticket,
                                  const std::vector<StreamRef>& streams) = 0;
  virtual void forget_guest(const MoveTicket& ticket) = 0;
  // Source, after the commit: the first move's original becomes the deputy, a guest's old copy is
  // destroyed. `carried_signals` were in its queue when it was dumped: they travel with the copy.
  // The move is done then whatever happens here; what goes wrong is the host's to say and to try
  // again.
  virtual void stand_down(const MoveTicket& ticket, const std::vector<int>& carried_signals) = 0;
};

struct MoveEnvironment {
  NodeId self;
  FreezerRoot& freezer;
  StreamPort& streams;
  MoveHost& host;
  std::string criu_path;    // for dumps outside of realms
  std::string images_root;  // a root-only directory on a tmpfs
  OpenUserfaultfd open_userfaultfd;
};

}  // namespace ssi::migrate
