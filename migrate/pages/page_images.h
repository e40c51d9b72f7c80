// Builds CRIU's page images (pagemap-N.img, pagemap-shmem-N.img, pages-M.img) in a tmpfs directory
// from a page stream, as `criu page-server` would, while the dump still runs at the source. Pages
// that criu can restore without their content go to the staged memory instead: the images only name
// them. Owned by the target's mover thread. Source of the formats: criu's images/pagemap.proto,
// include/magic.h.
#pragma once

#include <cstdint>

#include "migrate/pages/page_stream.h"
#include "migrate/pages/staged_memory.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PageImages : public PageStreamHandler {
 public:
  // `dir_fd` and `staged` stay the caller's. `staged` is for the process `staged_id`.
  PageImages(int dir_fd, StagedMemory& staged, std::uint64_t staged_id)
      : dir_fd_(dir_fd), staged_(staged), staged_id_(staged_id) {}

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
  StagedMemory& staged_;
  std::uint64_t staged_id_;
  PageOwner owner_;
  bool to_staged_ = false;
  PageRun entry_;  // not yet in map_buffer_: the next run may continue it
  UniqueFd map_;
  UniqueFd pages_;
  std::string map_buffer_;
  std::uint32_t next_pages_id_ = 1;
  std::uint64_t bytes_ = 0;
};

}  // namespace ssi::migrate
