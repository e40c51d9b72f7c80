// CRIU's page-server stream, understood byte by byte. A pure parser: both ends of a move use it,
// the source to know when criu waits for an answer, the target to build the page images.
//
//   {cmd u32, pad u32, nr_pages u64, vaddr u64, dst_id u64}, all in host order, then nr_pages*4096
//   bytes if cmd is ADD_F with kPresent.     Source: criu/page-xfer.c (struct page_server_iov).
//
// Untrusted on the target side: every count is limited, an unknown command is an error.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "migrate/pages/page_ranges.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

// Whose pages: a process's memory or a shared memory segment, with its CRIU id.
struct PageOwner {
  enum class Kind : std::uint8_t {
    kProcess = 1,
    kShmem = 2,      // by its inode, as criu calls it
    kAnonymous = 3,  // the same, of MAP_SHARED | MAP_ANONYMOUS; only where it is sent ahead
  };
  Kind kind = Kind::kProcess;
  std::uint64_t id = 0;
  auto operator<=>(const PageOwner&) const = default;
};

struct PageRun {
  std::uint64_t vaddr = 0;
  std::uint64_t pages = 0;
  std::uint32_t flags = 0;  // as in criu's pagemap entries

  static constexpr std::uint32_t kLazy = 1u << 1;  // criu can restore it without its content
  static constexpr std::uint32_t kPresent = 1u << 2;
  bool has_data() const { return (flags & kPresent) != 0; }
  bool lazy() const { return (flags & kLazy) != 0; }
  PageRange range() const { return {vaddr, vaddr + pages * kPageBytes}; }
};

// The headers as the writer of a stream needs them.
using PageHeader = std::array<std::uint8_t, 32>;
PageHeader open_header(PageOwner owner);
PageHeader run_header(PageOwner owner, const PageRun& run);

class PageStreamHandler {
 public:
  virtual ~PageStreamHandler() = default;
  virtual Result<> on_open(PageOwner owner) = 0;
  virtual Result<> on_run(const PageRun& run) = 0;
  virtual Result<> on_data(std::span<const std::uint8_t> bytes) = 0;
  virtual Result<> on_parent_query(PageOwner owner) = 0;
  virtual Result<> on_close() = 0;
};

class PageStreamParser {
 public:
  static constexpr std::size_t kHeaderBytes = 32;
  static constexpr std::uint64_t kMaxRunPages = std::uint64_t{1} << 32;  // 16 TiB
  static constexpr std::uint64_t kMaxAddress = std::uint64_t{1} << 57;

  explicit PageStreamParser(PageStreamHandler& handler) : handler_(handler) {}

  Result<> feed(std::span<const std::uint8_t> bytes);
  // The next `bytes` of a run's data went by without being fed.
  void pass(std::uint64_t bytes) { data_left_ -= bytes; }
  bool closed() const { return closed_; }
  // How many bytes may be read before the parser has to look again: never reads past a header.
  std::uint64_t data_left() const { return data_left_; }
  std::size_t header_left() const { return kHeaderBytes - header_used_; }

 private:
  Result<> on_header();

  PageStreamHandler& handler_;
  PageHeader header_{};
  std::size_t header_used_ = 0;
  std::uint64_t data_left_ = 0;
  bool opened_ = false;
  bool closed_ = false;
};

}  // namespace ssi::migrate
