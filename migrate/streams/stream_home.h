// The streams whose real ends are at this node: guests of ours that run elsewhere read and write
// them. Owned by the carrier; thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "migrate/streams/stream_end.h"

namespace ssi::migrate {

using StreamId = std::uint64_t;

class StreamHome {
 public:
  ~StreamHome() { stop(); }

  // From now on `fd`, a pipe or terminal, can be attached by the target of a guest. Errors: the id
  // is taken.
  Result<> export_fd(StreamId id, StreamDirection direction, UniqueFd fd);
  // The guest ended: what has arrived is still written (in the background, at most `linger_ms`),
  // then the descriptor is closed.
  Result<> close(StreamId id, int linger_ms);
  // Exported here?
  bool has(StreamId id) const;

  // Serves the connection of an attached target until it ends. Blocks.
  void serve(StreamChannel channel);
  void stop();

  std::size_t size() const;

 private:
  struct Export {
    StreamDirection direction{};
    std::mutex mutex;
    std::uint64_t generation = 0;
    std::uint64_t holder = 0;            // the number of the attachment that has it
    std::set<std::uint64_t> called_off;  // attachments that must not come again
    StreamChannel channel;
    std::unique_ptr<Source> source;  // the guest reads
    std::unique_ptr<Sink> sink;      // the guest writes
  };
  std::shared_ptr<Export> find(StreamId id) const;

  mutable std::mutex mutex_;
  std::map<StreamId, std::shared_ptr<Export>> exports_;
  std::vector<std::thread> closing_;
  bool stopped_ = false;
};

}  // namespace ssi::migrate
