// The memory of all that move together, on the target before they are there: a StagedMemory for
// each process, and for each piece of shared memory. Owned by the target's mover thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "migrate/pages/page_stream.h"
#include "migrate/pages/staged_memory.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

class StagedUnit : public PageStreamHandler {
 public:
  // More than `bytes_max` in all is an error: what the source offered is what it may use.
  explicit StagedUnit(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // A stream of pages sent ahead: its handler's part. Of anonymous memory it says at last which
  // pages there are.
  Result<> on_open(PageOwner owner) override;
  Result<> on_run(const PageRun& run) override;
  Result<> on_data(std::span<const std::uint8_t> bytes) override;
  Result<> on_parent_query(PageOwner) override;
  Result<> on_close() override;

  // Made if there is none yet; owned by this.
  Result<StagedMemory*> of(PageOwner owner);
  // Anonymous shared memory that was sent ahead: it can be given to those that are rebuilt, as it
  // is. Its inode at the source, and its file.
  std::vector<std::pair<std::uint64_t, int>> anonymous() const;
  bool is_anonymous(PageOwner owner) const;
  // It has nothing any more but what was kept.
  Result<> drop_others();
  std::uint64_t received_bytes() const { return received_bytes_; }

 private:
  static constexpr std::size_t kOwnersMax = 4096;
  const std::uint64_t bytes_max_;
  std::map<PageOwner, StagedMemory> memories_;
  StagedMemory* now_ = nullptr;
  bool now_is_anonymous_ = false;
  std::uint64_t received_bytes_ = 0;
};

}  // namespace ssi::migrate
