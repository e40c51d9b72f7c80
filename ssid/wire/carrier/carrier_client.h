// Talks to this node's ssid-carrier. Blocking; one call at a time per client (make one per thread);
// it may reconnect after an error. What may go wrong in every call: the carrier isn't there
// (kGone).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

class CarrierClient {
 public:
  static Result<CarrierClient> connect(const std::string& path = kCarrierSocket);

  // Mounts home's root at an existing directory. Home must answer.
  Result<> mount_view(const MountView& view);
  // Mounts a view of each node, up or not, and takes away those of others. Asks no other node.
  Result<> show_nodes(const ShowNodes& wanted);
  Result<> unmount_view(const std::string& mountpoint, bool force);
  Result<std::vector<ViewInfo>> list_views();
  // Afterwards the view shows everything that was done at home before this call (names and
  // attributes are otherwise believed for up to a second).
  Result<> refresh_view(const std::string& mountpoint);
  // Target: a guest's sockets are about to be bound in that cgroup, or have been. kGone: no view.
  Result<> rebuild_sockets(const RebuildSockets& wanted);
  Result<> tell_watchers(const TellWatchers& wanted);

  // Home. `fd` stays the caller's; the carrier opens it again for itself. `owner`: a pidfd; when
  // that process has ended, the stream is closed, whoever forgot it.
  Result<> export_stream(std::uint64_t id, CarrierDirection direction, int fd, int owner);
  // Home: another owner of an exported stream, which is closed when the last has ended.
  Result<> own_stream(std::uint64_t id, int owner);
  // Home: the guest ended. What is under way still arrives within `linger_ms`.
  Result<> close_stream(std::uint64_t id, std::int32_t linger_ms);

  // Target. The guest's end of a new pipe; `generation` must be greater than all before. kRefused:
  // it is not; kGone: home does not have the stream.
  // `network`, for a unix socket: the network namespace that it is to be in; it stays the caller's.
  Result<UniqueFd> attach_stream(const AttachStream& stream, int network = -1);
  // Target: the guest has that unix socket, which listens; start, drain, resume and detach are
  // those of streams. The socket itself, for the guest that comes home, if that is asked for.
  Result<UniqueFd> attach_listener(const AttachListener& listener, int network);
  // Target: which connections of it the guest has. Complete after a drain.
  Result<std::vector<AcceptedConnection>> accepted_by(std::uint64_t listener);
  // Target, after the commit: from now on it counts if the guest closes its end. (Before, an end
  // that is closed by a failed restore is no end of file.)
  // `socket`: of one that listens: its inode number.
  Result<> start_stream(std::uint64_t id, std::uint64_t socket = 0);
  // Target: the guest waits for so many bytes of an on_demand stream.
  Result<> demand_stream(std::uint64_t id, std::uint64_t bytes);
  // Target, the guest being frozen or gone: what it wrote is at home (with `written`: in home's
  // pipe), what it has not read is back at home. kTimeout: may be repeated.
  Result<> drain_stream(const DrainStream& wanted);
  // Target, after a drain: the move was called off.
  Result<> resume_stream(std::uint64_t id);
  // Target, the kGuestReads stream of a terminal: size and settings are home's again. kTimeout:
  // home does not answer.
  Result<> refresh_terminal(std::uint64_t id, std::int32_t timeout_ms);
  // Target: the guest ended or runs elsewhere.
  Result<> detach_stream(std::uint64_t id, std::uint64_t generation);

  // Home: the open file is kept for a process that moves (held_file.h); its number. Views find it
  // by that until it is released.
  Result<std::uint64_t> hold_file(int fd);
  // A file of this node, and the record locks that a process of it keeps as a deputy.
  Result<std::uint64_t> hold_locks(int fd, const HoldLocksOf& locks);
  // Home: a duplicate of what is held. kGone: nothing.
  Result<UniqueFd> open_held_file(std::uint64_t id);
  Result<> release_file(std::uint64_t id);

  Result<CarrierStats> stats();

 private:
  explicit CarrierClient(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<CarrierBytes> ask(const CarrierBytes& request, std::span<const int> send_fds = {},
                           UniqueFd* fd = nullptr);
  Result<> ask_plain(const CarrierBytes& request, std::span<const int> send_fds = {});

  UniqueFd socket_;
};

}  // namespace ssi
