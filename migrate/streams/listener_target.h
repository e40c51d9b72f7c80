// Guests of this node whose listening unix sockets have their names at home. Each client that home
// tells of becomes a connection to the guest's own socket, made here in its name, and two streams.
// Should the guest leave before it has accepted one, home tells the next node of it again.
//
//     attach   -> nothing yet: the move is not decided
//     start    -> after the commit: clients come
//     pause    -> no more of them, for the (frozen) guest is to move; home knows which of them it
//     has resume   -> the move was called off: go on close    -> forget it (the guest ended, or
//     runs elsewhere now)
//
// Owned by the carrier; thread-safe. Two threads for each listener.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "migrate/fds/unix_socket.h"
#include "migrate/streams/stream_target.h"

namespace ssi::migrate {

class ListenerTarget {
 public:
  using Dial = StreamTarget::Dial;

  // `streams` outlives it.
  explicit ListenerTarget(StreamTarget& streams) : streams_(streams) {}
  ~ListenerTarget() { stop(); }

  struct Attach {
    StreamId id = 0;
    std::uint64_t generation = 0;
    Dial dial;            // to home's listeners
    Dial dial_stream;     // to home's streams
    std::string address;  // as fds::connect_relay_end has it
    int socket_type = SOCK_STREAM;
    UniqueFd root;     // of the guest's files, as this process sees them
    UniqueFd network;  // the namespace in which the guest is
    // Connections that have come along with it: home is told when they are over.
    std::vector<std::pair<StreamId, StreamId>> carried{};
  };
  Result<> attach(Attach what);
  // `socket`: the guest's. If it does not listen yet, home is told when it does.
  Result<> start(StreamId id, fds::SocketInode socket);
  // kTimeout: home did not hear of it; may be repeated.
  Result<> pause(StreamId id, int timeout_ms);
  Result<> resume(StreamId id);

  // A connection that the guest has accepted here and not closed yet.
  struct Accepted {
    StreamId out = 0, in = 0;
    fds::PeerIdentity peer;
    fds::SocketInode socket = 0;  // the guest's
  };
  Result<std::vector<Accepted>> accepted(StreamId id) const;

  // With the connections that were made here. kGone: not attached in that generation.
  Result<> close(StreamId id, std::uint64_t generation);
  bool has(StreamId id) const;
  void stop();

  std::size_t size() const;

 private:
  class Attachment;
  std::shared_ptr<Attachment> find(StreamId id) const;

  StreamTarget& streams_;
  mutable std::mutex mutex_;
  std::map<StreamId, std::shared_ptr<Attachment>> attachments_;
  Closing closing_;
};

}  // namespace ssi::migrate
