// Which page of a process lies where in the file that holds its memory on the target. Pure.
//
//   addresses   [7f00.., +4 MiB)  [7f10.., +8 KiB)
//   file        0 ... 4 MiB        4 MiB ...          in the order in which the pages came
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "migrate/pages/page_ranges.h"

namespace ssi::migrate {

// Pages that lie one after the other in the file, too. Also the format of the index file that the
// pager gets: an array of these, sorted.
struct StagedPiece {
  PageRange pages;
  std::uint64_t offset = 0;
  auto operator<=>(const StagedPiece&) const = default;
};

class StagedMap {
 public:
  // Where the pages of `range` are, in order; those that have no place yet get one at the end of
  // the file.
  std::vector<StagedPiece> place(PageRange range);
  // Only those that have a place.
  std::vector<StagedPiece> find(PageRange range) const;
  bool covers(PageRange range) const;
  // The pages are not there any more (their place in the file is not used again).
  void drop(PageRange range);
  // The process moved what was at [from, from+bytes) to `to`.
  void shift(std::uint64_t from, std::uint64_t to, std::uint64_t bytes);
  // Puts a piece of an index file in. The caller has checked that it overlaps nothing.
  void insert(const StagedPiece& piece);

  std::optional<StagedPiece> first() const;
  bool empty() const { return pieces_.empty(); }
  std::uint64_t file_bytes() const { return file_bytes_; }
  std::vector<StagedPiece> all() const;

 private:
  struct Rest {
    std::uint64_t end;
    std::uint64_t offset;
  };
  using Pieces = std::map<std::uint64_t, Rest>;
  // The first piece that reaches beyond `address`.
  Pieces::const_iterator reaching(std::uint64_t address) const;

  Pieces pieces_;
  std::uint64_t file_bytes_ = 0;
};

}  // namespace ssi::migrate
