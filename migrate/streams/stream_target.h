// The streams of guests that run on this node: pipes whose other end is at their home. Owned by the
// carrier; thread-safe. A connection to home is made again for as long as the stream is attached
// here.
//
//     attach -> the guest's end of a fresh pipe, to be given to criu
//     start  -> after the commit: from now on bytes flow to the guest, and its closing its end
//     counts demand -> a guest that shares home's pipe with others waits for so many bytes drain ->
//     the (frozen) guest's bytes are at home, what it did not read is back at home resume -> the
//     move was called off: go on as before close  -> forget it (the guest ended, or runs elsewhere
//     now)
#pragma once

#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "migrate/fds/relay_ends.h"
#include "migrate/streams/closing.h"
#include "migrate/streams/stream_home.h"

namespace ssi::migrate {

class StreamTarget {
 public:
  using Dial =
      std::function<Result<std::unique_ptr<Channel>>()>;  // to home, hello sent and answered

  ~StreamTarget() { stop(); }

  struct Attach {
    StreamId id = 0;
    std::uint64_t generation = 0;  // grows with each attachment of the stream, anywhere
    StreamDirection direction{};
    std::uint32_t capacity = 0;  // of home's pipe (F_GETPIPE_SZ), bytes; 0: the default
    Dial dial;
    bool on_demand = false;  // kGuestReads: others at home read the same pipe, or it is a terminal
    // Not 0: a terminal; both its streams have the same number here, and get the same one.
    StreamId terminal = 0;
    // Not 0: a unix socket; as with a terminal. `network`: the namespace that it is to be in.
    StreamId socket = 0;
    fds::PeerIdentity peer{};
    UniqueFd network{};
    int socket_type = SOCK_STREAM;
    // kGuestReads: not empty: datagrams for the guest's own socket of that address (as
    // fds::connect_relay_end has it), which is in `network`; no end is made for it.
    std::string address{};
    UniqueFd root{};  // of the guest's files, as this process sees them
  };
  // Both directions of a connection that the guest accepts, or has accepted, by itself: begun at
  // once. `ends`: ours.
  Result<> begin_accepted(Attach out, Attach in, fds::RelayEnds ends);
  // Answers when home has accepted; the guest's end. Errors: kGone (home
  // does not have it), kRefused (a later generation is attached), kFailed (home can't be reached).
  Result<UniqueFd> attach(Attach what);
  Result<> start(StreamId id);
  // kGuestReads, on_demand: the guest waits for so many bytes.
  Result<> demand(StreamId id, std::uint64_t bytes);
  // Of a datagram socket, before drain(): the guest, which is frozen, goes home, and has so many
  // datagrams in its queue. kBusy: not all of them are home's, which takes them back. (Without it
  // they all move on with the guest.)
  Result<> expect_datagrams(StreamId id, std::size_t waiting);
  // For a move: all bytes are at home, the guest is frozen. kTimeout: not in time; may be repeated.
  // kBusy: its end has come, and home has let go of it: the move is to begin again, without it.
  Result<> drain(StreamId id, int timeout_ms);
  Result<> resume(StreamId id);
  // kGuestWrites: what the guest has written is in home's pipe, and home's terminal is set as the
  // guest has set it. It goes on. kTimeout: not in time.
  Result<> flush(StreamId id, int timeout_ms);
  // A terminal's kGuestReads: the guest's is set as home's is now. kTimeout: home does not answer.
  Result<> refresh_terminal(StreamId id, int timeout_ms);
  // kGone: not attached here in that generation; a later one is left alone. What the guest wrote
  // before it closed its end by itself still goes home.
  Result<> close(StreamId id, std::uint64_t generation);
  bool has(StreamId id) const;
  // Nothing will come or go any more in that one.
  bool finished(StreamId id) const;
  void stop();

  std::size_t size() const;

 private:
  class Attachment;
  std::shared_ptr<Attachment> find(StreamId id) const;
  void end_in_background(std::shared_ptr<Attachment> closed);
  void forget_useless(StreamId id);
  Result<UniqueFd> begin(Attach what, std::shared_ptr<PtyPair> terminal,
                         std::shared_ptr<fds::RelayEnds> socket);

  Result<std::shared_ptr<PtyPair>> terminal_of(const Attach& what);
  Result<std::shared_ptr<fds::RelayEnds>> socket_of(const Attach& what);

  mutable std::mutex mutex_;
  std::map<StreamId, std::shared_ptr<Attachment>> attachments_;
  // Of those that are attached, by terminal and generation.
  std::map<std::pair<StreamId, std::uint64_t>, std::weak_ptr<PtyPair>> terminals_;
  Closing closing_;
  std::map<std::pair<StreamId, std::uint64_t>, std::weak_ptr<fds::RelayEnds>> sockets_;
};

}  // namespace ssi::migrate
