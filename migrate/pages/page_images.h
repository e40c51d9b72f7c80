// Builds CRIU's page images (pagemap-N.img, pagemap-shmem-N.img, pages-M.img) in a tmpfs directory
// from a page stream, as `criu page-server` would, while the dump still runs at the source. Owned
// by the target's mover thread. Source of the formats: criu's images/pagemap.proto,
// include/magic.h.
#pragma once

#include <cstdint>

#include "migrate/pages/page_stream.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class PageImages : public PageStreamHandler {
 public:
  // `dir_fd` stays the caller's.
  explicit PageImages(int dir_fd) : dir_fd_(dir_fd) {}

  Result<> on_open(PageOwner owner) override;
  Result<> on_run(const PageRun& run) override;
  Result<> on_data(std::span<const std::uint8_t> bytes) override;
  Result<> on_parent_query(PageOwner) override { return {}; }
  Result<> on_close() override;

  std::uint64_t bytes() const { return bytes_; }

 private:
  Result<> flush_map();

  int dir_fd_;
  UniqueFd map_;
  UniqueFd pages_;
  std::string map_buffer_;
  std::uint32_t next_pages_id_ = 1;
  std::uint64_t bytes_ = 0;
};

}  // namespace ssi::migrate
