#include "migrate/pages/staged_map.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace ssi::migrate {
namespace {

constexpr std::uint64_t kPage = kPageBytes;

PageRange pages(std::uint64_t begin, std::uint64_t end) { return {begin * kPage, end * kPage}; }

}  // namespace

TEST_CASE("ranges of pages are what a set of pages would be") {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    PageRanges a, b;
    std::map<std::uint64_t, bool> in_a, in_b;
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t begin = random() % 60, end = begin + random() % 9;
      PageRanges& set = random() % 2 ? a : b;
      auto& model = &set == &a ? in_a : in_b;
      const bool adding = random() % 3 != 0;
      adding ? set.add(pages(begin, end)) : set.remove(pages(begin, end));
      for (std::uint64_t p = begin; p < end; ++p) model[p] = adding;
    }
    const PageRanges both = a.intersection(b);
    std::uint64_t bytes = 0;
    for (std::uint64_t p = 0; p < 70; ++p) {
      CHECK(a.first_piece(pages(p, p + 1)).inside == in_a[p]);
      CHECK(both.first_piece(pages(p, p + 1)).inside == (in_a[p] && in_b[p]));
      bytes += in_a[p] ? kPage : 0;
    }
    CHECK(a.bytes() == bytes);
    for (std::uint64_t at = 0; at < 70;) {
      const auto piece = a.first_piece(pages(at, 70));
      REQUIRE(piece.range.end > piece.range.begin);
      for (; at * kPage < piece.range.end; ++at) CHECK(in_a[at] == piece.inside);
    }
  }
}

TEST_CASE("every staged page has one place of its own and keeps it") {
  std::mt19937 random(4);
  for (int round = 0; round < 200; ++round) {
    StagedMap map;
    std::map<std::uint64_t, std::uint64_t> model;  // page -> offset
    for (int i = 0; i < 30; ++i) {
      const std::uint64_t begin = random() % 60, end = begin + 1 + random() % 9;
      std::uint64_t at = begin;
      for (const StagedPiece& piece : map.place(pages(begin, end))) {
        for (std::uint64_t o = 0; o < piece.pages.bytes(); o += kPage, ++at) {
          CHECK(piece.pages.begin + o == at * kPage);
          const auto [known, fresh] = model.emplace(at, piece.offset + o);
          CHECK(known->second == piece.offset + o);
        }
      }
      CHECK(at == end);
      if (random() % 3 == 0) {
        const std::uint64_t gone = random() % 60;
        map.drop(pages(gone, gone + 3));
        for (std::uint64_t p = gone; p < gone + 3; ++p) model.erase(p);
      }
    }
    std::map<std::uint64_t, int> uses;
    for (const auto& [page, offset] : model) CHECK(++uses[offset] == 1);
    for (std::uint64_t p = 0; p < 70; ++p) {
      CHECK(map.covers(pages(p, p + 1)) == model.contains(p));
    }
  }
}

TEST_CASE("pages that the process moves keep their place in the file") {
  StagedMap map;
  map.place(pages(0, 10));
  map.place(pages(20, 22));
  map.shift(pages(4, 8).begin, pages(20, 24).begin, 4 * kPage);
  const auto found = map.find(pages(20, 24));
  REQUIRE(found.size() == 1);
  CHECK(found[0] == StagedPiece{pages(20, 24), 4 * kPage});
  CHECK(!map.covers(pages(4, 5)));
  CHECK(map.covers(pages(8, 10)));
}

}  // namespace ssi::migrate
