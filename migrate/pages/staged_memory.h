// A process's memory, or a piece of shared memory, on the target before the process is there: a
// file in memory (memfd) that takes pages as they come, in any order and several times, and at last
// knows which of them count. Owned by the target's mover thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "migrate/pages/staged_map.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class StagedMemory {
 public:
  // How the file is made up.
  enum class Layout {
    kAsItComes,
    kAsItIs,  // each page at its address: what the file holds is the memory itself
  };
  // More than `bytes_max` is an error: what the source offered is what it may use.
  static Result<StagedMemory> create(std::uint64_t bytes_max, Layout layout);

  // Where the next data go.
  Result<> begin(PageRange range);
  Result<> add(std::span<const std::uint8_t> bytes);
  // These pages are in the process at the freeze: the others that came are old. They must be here.
  Result<> keep(PageRange range);
  bool keeps_any() const { return kept_.bytes() > 0; }

  // One page, as it came last.
  Result<> read(std::uint64_t address, std::span<char> page) const;
  int data_fd() const { return *data_; }
  // kAsItIs: nothing is in the file any more but the pages that were kept.
  Result<> drop_others();
  // A new file: an array of StagedPiece, the pages that were kept.
  Result<UniqueFd> make_index() const;
  // These, to a file, where that stands. They must be here.
  Result<> copy_to(int file, PageRange range) const;
  std::uint64_t file_bytes() const {
    return layout_ == Layout::kAsItIs ? here_.bytes() : map_.file_bytes();
  }

 private:
  StagedMemory(UniqueFd data, std::uint64_t bytes_max, Layout layout)
      : data_(std::move(data)), bytes_max_(bytes_max), layout_(layout) {}
  bool covers(PageRange range) const;
  std::vector<StagedPiece> find(PageRange range) const;

  UniqueFd data_;
  std::uint64_t bytes_max_;
  Layout layout_;
  StagedMap map_;    // kAsItComes
  PageRanges here_;  // kAsItIs
  PageRanges kept_;
  std::vector<StagedPiece> next_;  // reversed: the first to be filled is the last
};

}  // namespace ssi::migrate
