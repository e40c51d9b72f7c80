#include "migrate/pages/staged_map.h"

#include <algorithm>
#include <iterator>

namespace ssi::migrate {

StagedMap::Pieces::const_iterator StagedMap::reaching(std::uint64_t address) const {
  auto it = pieces_.upper_bound(address);
  if (it != pieces_.begin() && std::prev(it)->second.end > address) --it;
  return it;
}

std::vector<StagedPiece> StagedMap::find(PageRange range) const {
  std::vector<StagedPiece> found;
  for (auto it = reaching(range.begin); it != pieces_.end() && it->first < range.end; ++it) {
    const PageRange common{std::max(it->first, range.begin), std::min(it->second.end, range.end)};
    if (common.begin < common.end) {
      found.push_back({common, it->second.offset + (common.begin - it->first)});
    }
  }
  return found;
}

std::vector<StagedPiece> StagedMap::place(PageRange range) {
  std::vector<StagedPiece> placed;
  std::uint64_t at = range.begin;
  const auto append = [&](std::uint64_t end) {
    if (at >= end) return;
    placed.push_back({{at, end}, file_bytes_});
    file_bytes_ += end - at;
    at = end;
  };
  for (const StagedPiece& known : find(range)) {
    append(known.pages.begin);
    placed.push_back(known);
    at = known.pages.end;
  }
  append(range.end);
  for (const StagedPiece& piece : placed) {
    if (!covers(piece.pages)) insert(piece);
  }
  return placed;
}

bool StagedMap::covers(PageRange range) const {
  std::uint64_t at = range.begin;
  for (const StagedPiece& piece : find(range)) {
    if (piece.pages.begin != at) return false;
    at = piece.pages.end;
  }
  return at >= range.end;
}

void StagedMap::drop(PageRange range) {
  if (range.begin >= range.end) return;
  auto it = pieces_.upper_bound(range.begin);
  if (it != pieces_.begin()) --it;
  while (it != pieces_.end() && it->first < range.end) {
    const PageRange now{it->first, it->second.end};
    const std::uint64_t offset = it->second.offset;
    if (now.end <= range.begin) {
      ++it;
      continue;
    }
    it = pieces_.erase(it);
    if (now.begin < range.begin) pieces_.emplace(now.begin, Rest{range.begin, offset});
    if (now.end > range.end) {
      pieces_.emplace(range.end, Rest{now.end, offset + (range.end - now.begin)});
    }
  }
}

void StagedMap::shift(std::uint64_t from, std::uint64_t to, std::uint64_t bytes) {
  const auto moved = find({from, from + bytes});
  drop({from, from + bytes});
  drop({to, to + bytes});
  for (StagedPiece piece : moved) {
    piece.pages.begin = piece.pages.begin - from + to;
    piece.pages.end = piece.pages.end - from + to;
    insert(piece);
  }
}

void StagedMap::insert(const StagedPiece& piece) {
  file_bytes_ = std::max(file_bytes_, piece.offset + piece.pages.bytes());
  auto next = pieces_.lower_bound(piece.pages.begin);
  // Pieces that continue each other, in memory and in the file, become one.
  if (next != pieces_.begin()) {
    const auto before = std::prev(next);
    if (before->second.end == piece.pages.begin &&
        before->second.offset + (before->second.end - before->first) == piece.offset) {
      before->second.end = piece.pages.end;
      return;
    }
  }
  pieces_.emplace_hint(next, piece.pages.begin, Rest{piece.pages.end, piece.offset});
}

std::optional<StagedPiece> StagedMap::first() const {
  if (pieces_.empty()) return std::nullopt;
  const auto& [begin, rest] = *pieces_.begin();
  return StagedPiece{{begin, rest.end}, rest.offset};
}

std::vector<StagedPiece> StagedMap::all() const {
  std::vector<StagedPiece> pieces;
  for (const auto& [begin, rest] : pieces_) pieces.push_back({{begin, rest.end}, rest.offset});
  return pieces;
}

}  // namespace ssi::migrate
