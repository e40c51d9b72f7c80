// How many requests of a view its kernel waits for: those that nobody has read yet, and those that
// are being answered. The kernel tells it in a file system of its own (fusectl), of which this has
// a mount that nobody else sees. A file that was closed is such a request for a while, though who
// has closed it goes on.
//
// Owned by a view; any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "ssid/base/unique_fd.h"

namespace ssi::fs {

class WaitingRequests {
 public:
  // `device` as st_dev has it. None: it can't be said.
  std::optional<std::size_t> count(std::uint64_t device);

 private:
  std::mutex mutex_;
  UniqueFd mount_;
};

}  // namespace ssi::fs
