// Builds CRIU's page images (pagemap-N.img, pagemap-shmem-N.img, pages-M.img) in a tmpfs directory
// from a page stream, as `criu page-server` would, while the dump still runs at the source. Pages
// that come without their content are taken from the staged memory. Of a process that moves alone,
// what criu can restore without its content goes to the staged memory instead: the images only name
// it. Anonymous shared memory that was sent ahead is the staged memory itself, and the images have
// no pages of it. Owned by the target's mover thread. Source of the formats: criu's
// images/pagemap.proto, include/magic.h.
#pragma once

#include <cstdint>

#include "migrate/pages/page_stream.h"
#include "migrate/pages/staged_unit.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PageImages : public PageStreamHandler {
 public:
  // `dir_fd` and `staged` stay the caller's. `alone`: the process that moves alone; 0: there are
  // several.
  PageImages(int dir_fd, StagedUnit& staged, std::uint64_t alone)
      : dir_fd_(dir_fd), staged_(staged), alone_(alone) {}

  Result<> on_open(PageOwner owner) override;
  Result<> on_run(const PageRun& run) override;
  Result<> on_data(std::span<const std::uint8_t> bytes) override;
  Result<> on_parent_query(PageOwner) override { return {}; }
  Result<> on_close() override;

  std::uint64_t bytes() const { return bytes_; }

 private:
  void add_entry(const PageRun& run);
  Result<> flush_map();

  int dir_fd_;
  StagedUnit& staged_;
  const std::uint64_t alone_;
  PageOwner owner_;
  StagedMemory* memory_ = nullptr;  // of this owner
  bool to_staged_ = false;
  bool given_ = false;
  PageRun entry_;  // not yet in map_buffer_: the next run may continue it
  UniqueFd map_;
  UniqueFd pages_;
  std::string map_buffer_;
  std::uint32_t next_pages_id_ = 1;
  std::uint64_t bytes_ = 0;
};

}  // namespace ssi::migrate
