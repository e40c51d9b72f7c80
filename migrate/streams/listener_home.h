// Unix sockets at this node that listen, of processes of ours that run elsewhere. Who connects to
// one finds its name, and this node's kernel, as ever; the connection becomes two streams
// (stream_home.h), and the node where the process runs is told. While nobody there asks for them,
// clients wait in the kernel's queue, as for a process that is slow.
//
// Owned by the carrier; thread-safe. A thread for each listener.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "migrate/streams/stream_home.h"

namespace ssi::migrate {

class ListenerHome {
 public:
  // `streams` outlives it.
  explicit ListenerHome(StreamHome& streams) : streams_(streams) {}
  ~ListenerHome() { stop(); }

  // `socket`: a duplicate of the process's own. `owner`, a pidfd, as in StreamHome: with the last
  // one's end it is closed, and the name leads nowhere. Errors: it is exported already. One that
  // was handed over may be exported again.
  Result<> export_socket(StreamId id, UniqueFd socket, UniqueFd owner);
  Result<> add_owner(StreamId id, UniqueFd owner);
  bool has(StreamId id) const;
  // A duplicate, for the process that comes home with it. kGone: there is none.
  Result<UniqueFd> duplicate(StreamId id) const;
  // The process runs at home, and has it: nobody else accepts its clients from now on, except those
  // that were accepted before and of whom it has not heard yet. kGone: there is none.
  Result<> hand_over(StreamId id);
  // The move was given up: as it was before it was exported.
  void take_back(StreamId id);
  // Nobody listens there any more; the connections that were made go on. kGone: there is none.
  Result<> forget(StreamId id);

  // Serves the connection of the node where the process runs until it ends. Blocks.
  void serve(StreamChannel channel);
  void stop();

  std::size_t size() const;

 private:
  class Listener;
  std::shared_ptr<Listener> find(StreamId id) const;

  StreamHome& streams_;
  mutable std::mutex mutex_;
  std::map<StreamId, std::shared_ptr<Listener>> listeners_;
  Closing closing_;
};

}  // namespace ssi::migrate
