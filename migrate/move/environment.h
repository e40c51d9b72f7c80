// What a mover needs of its node. The daemon implements these; the movers' threads call them, so
// every method is thread-safe and may block.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "migrate/criu/criu_library.h"
#include "migrate/fds/held_file.h"
#include "migrate/freezer/freezer_cgroup.h"
#include "migrate/move/ticket.h"
#include "migrate/net/moved_socket.h"
#include "migrate/pages/uffd_helper.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// The carrier's relaying of pipes, on whatever node the caller is.
class StreamPort {
 public:
  virtual ~StreamPort() = default;
  // Home: `fd` is the end of the pipe that these processes have; the carrier takes a duplicate, and
  // lets it go when the last of them (or of the deputies that they become) has ended.
  virtual Result<> export_at_home(const StreamRef& stream, int fd,
                                  const std::vector<pid_t>& pids) = 0;
  // Where the guest will run: the end that it gets. Nothing flows before start().
  virtual Result<UniqueFd> attach(NodeId home, const StreamRef& stream) = 0;
  // The same for one direction of a unix socket, which is to be in that network namespace; the same
  // end for both.
  virtual Result<UniqueFd> attach_socket(NodeId home, const StreamRef& stream, int network) = 0;
  // The same for a unix socket that others reach by its name. The end is the socket itself where
  // that is home, and nothing elsewhere: there it is made anew.
  // `streams`: all that the process brings along.
  virtual Result<UniqueFd> attach_named(NodeId home, const StreamRef& socket, int network,
                                        const std::vector<StreamRef>& streams) = 0;
  // Where the guest is: the connections that it has accepted there, each as two streams. Complete
  // after drain().
  virtual Result<std::vector<StreamRef>> accepted_by(const StreamRef& listener) = 0;
  virtual Result<> start(const StreamRef& stream) = 0;
  // Where the (frozen) guest is: everything it wrote is at home, everything it has not read is back
  // there. `datagrams`: of a socket for these whose process goes home: how many wait in its queue;
  // kBusy: not all of them are home's.
  virtual Result<> drain(const StreamRef& stream, std::optional<std::uint32_t> datagrams) = 0;
  // Undoes drain(): the move was given up.
  virtual Result<> resume(const StreamRef& stream) = 0;
  // Where the guest was or would have been: this node has no part in the stream any more.
  virtual void detach(const StreamRef& stream) = 0;
  // Home: the guest has ended, or never left.
  virtual void close_at_home(const StreamRef& stream) = 0;
};

// What was in a process's queue when it was dumped, and travels with the copy.
struct Carried {
  std::map<pid_t, std::vector<int>> signals{};  // by its PID
  // In named pipes that it takes along, by their inode (as criu counts it), bytes; nullopt: not
  // known any more, so all that is there.
  std::optional<std::map<std::uint32_t, std::uint32_t>> fifo_bytes{};
  std::chrono::steady_clock::time_point frozen_since{};
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
  // The root of home's files on this node: its own, or a view of them.
  virtual Result<UniqueFd> open_root(NodeId home) = 0;
  // Away from home: what was done there to files is done at home, and who watches files there
  // (inotify) has been told of all that others have done to them until now; the process, too,
  // whatever it began to watch before.
  virtual Result<> tell_watchers(NodeId home, pid_t process) = 0;
  // Target: whoever is in that cgroup makes the process's unix sockets anew, with the names that
  // they have among home's files, which stay home's.
  virtual Result<> rebuild_sockets(NodeId home, const std::string& cgroup, bool on) = 0;
  // Source, the process runs: who is new waits at home (a connection to be made, a datagram), so
  // that the process can take what lies in front of it.
  virtual Result<> quiet_network(const MoveTicket& ticket,
                                 const std::vector<net::MovedSocket>& sockets) = 0;
  // Source, the process is frozen: what comes from the network for these sockets of it waits at
  // home until the move is decided. The commit itself lets it go on to the target.
  virtual Result<> hold_network(const MoveTicket& ticket,
                                const std::vector<net::MovedSocket>& sockets) = 0;
  // Source: the move was given up; it goes on to the source.
  virtual void release_network(const MoveTicket& ticket) = 0;
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
  // Source, after the commit: the first move's originals become deputies, a guest's old copy is
  // destroyed. The move is done then whatever happens here; what goes wrong is the host's to say
  // and to try again.
  virtual void stand_down(const MoveTicket& ticket, const Carried& carried) = 0;
};

struct MoveEnvironment {
  NodeId self;
  FreezerRoot& freezer;
  StreamPort& streams;
  fds::FilePort& files;
  MoveHost& host;
  CriuFiles criu;           // for dumps outside of realms
  std::string images_root;  // a root-only directory on a tmpfs
  OpenUserfaultfd open_userfaultfd;
};

}  // namespace ssi::migrate
