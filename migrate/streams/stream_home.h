// The streams whose real ends are at this node: guests of ours that run elsewhere read and write
// them. Owned by the carrier; thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "migrate/streams/closing.h"
#include "migrate/streams/stream_end.h"

namespace ssi::migrate {

using StreamId = std::uint64_t;

class StreamHome {
 public:
  ~StreamHome() { stop(); }

  // From now on `fd`, a pipe or terminal, can be attached by the target of a guest. `owner`, a
  // pidfd: the process at home whose pipe it is; when it has ended (the original, or the deputy
  // that it became), the stream is closed: whoever reads or writes the other end must not wait for
  // one that is gone, also if its node or our ssid died. A terminal is exported twice, once for
  // each direction, and needs its owner for job control. Errors: the id is taken.
  Result<> export_fd(StreamId id, StreamDirection direction, UniqueFd fd, UniqueFd owner = {});
  // Another process that has it, too: it is closed when the last of its owners has ended.
  Result<> add_owner(StreamId id, UniqueFd owner);
  // The guest ended: what is under way is still written (in the background, at most `linger_ms`,
  // and while there is somebody to send it), then the descriptor is closed.
  Result<> close(StreamId id, int linger_ms);
  // A datagram socket that others reach by its name: a duplicate, for the process that comes home
  // with it. kGone: there is none.
  Result<UniqueFd> duplicate(StreamId id) const;
  // That process has it: what it has not read waits there. kGone: there is none.
  Result<> hand_over(StreamId id);
  // Exported here?
  bool has(StreamId id) const;
  // Nothing will come or go any more in that one, or it is not exported.
  bool finished(StreamId id) const;

  // Serves the connection of an attached target until it ends. Blocks.
  void serve(StreamChannel channel);
  void stop();

  std::size_t size() const;

 private:
  struct Export {
    StreamDirection direction{};
    bool datagrams = false;  // a socket for these
    // Also held by the thread that watches them.
    std::vector<std::shared_ptr<const UniqueFd>> owners;
    std::mutex mutex;
    std::uint64_t generation = 0;
    std::uint64_t holder = 0;            // the number of the attachment that has it
    std::set<std::uint64_t> called_off;  // attachments that must not come again
    StreamChannel channel;
    std::unique_ptr<Source> source;  // the guest reads
    std::unique_ptr<Sink> sink;      // the guest writes
  };
  std::shared_ptr<Export> find(StreamId id) const;
  Result<> watch_owners();
  void close_ownerless();
  void owner_ended(StreamId id, const std::shared_ptr<const UniqueFd>& owner);

  mutable std::mutex mutex_;
  std::map<StreamId, std::shared_ptr<Export>> exports_;
  Closing closing_;
  bool stopped_ = false;
  UniqueFd wake_;  // of the thread that watches the owners; made with the first of them
  std::thread watching_;
};

}  // namespace ssi::migrate
