// A set of pages of one process, as ranges of addresses. Pure; a plain value.
#pragma once

#include <cstdint>
#include <map>

namespace ssi::migrate {

constexpr std::size_t kPageBytes = 4096;

// [begin, end), whole pages.
struct PageRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t bytes() const { return end - begin; }
  auto operator<=>(const PageRange&) const = default;
};

class PageRanges {
 public:
  void add(PageRange range);
  void remove(PageRange range);
  PageRanges intersection(const PageRanges& other) const;

  // The longest first piece of `range` that is wholly inside of the set or wholly outside.
  struct Piece {
    PageRange range;
    bool inside;
  };
  Piece first_piece(PageRange range) const;

  std::uint64_t bytes() const;
  bool empty() const { return ranges_.empty(); }
  // begin -> end, in order, none touching the next.
  const std::map<std::uint64_t, std::uint64_t>& ranges() const { return ranges_; }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

}  // namespace ssi::migrate
