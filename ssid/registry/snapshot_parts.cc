#include "ssid/registry/snapshot_parts.h"

#include <algorithm>
#include <iterator>

namespace ssi {
namespace {

constexpr std::size_t kItemsPerPart = 1000;
static_assert(kItemsPerPart <= group::kSnapshotPartItemsMax);

// The n-th piece of a list.
template <typename From, typename To>
void take_piece(const From& all, std::size_t n, std::vector<To>& to) {
  const std::size_t first = std::min(n * kItemsPerPart, all.size());
  const std::size_t last = std::min(first + kItemsPerPart, all.size());
  to.assign(all.begin() + static_cast<std::ptrdiff_t>(first),
            all.begin() + static_cast<std::ptrdiff_t>(last));
}

template <typename T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

std::vector<group::Snapshot> cut_snapshot(const ProcessTable& table, std::uint64_t committed,
                                          const std::deque<group::PendingOperation>& pending,
                                          std::uint64_t nonce, std::uint64_t ballot) {
  std::vector<TableEntry> entries;
  entries.reserve(table.entries().size());
  for (const auto& [process, entry] : table.entries()) entries.push_back(entry);
  const std::size_t longest =
      std::max({entries.size(), table.tombstones().size(), pending.size(), std::size_t{1}});
  const auto parts = static_cast<std::uint32_t>((longest + kItemsPerPart - 1) / kItemsPerPart);

  std::vector<group::Snapshot> snapshot(parts);
  for (std::uint32_t n = 0; n < parts; ++n) {
    group::Snapshot& part = snapshot[n];
    part.nonce = nonce;
    part.ballot = ballot;
    part.part = n;
    part.parts = parts;
    part.committed = committed;
    take_piece(entries, n, part.entries);
    take_piece(table.tombstones(), n, part.tombstones);
    take_piece(pending, n, part.pending);
  }
  for (const auto& [node, boot_id] : table.boots()) snapshot[0].boots.push_back({node, boot_id});
  snapshot[0].drained.assign(table.drained().begin(), table.drained().end());
  return snapshot;
}

std::optional<TableState> SnapshotReader::add(group::Snapshot part) {
  if (part.part != next_part_) {
    next_part_ = 0;
    if (part.part != 0) return std::nullopt;
  }
  if (part.part == 0) state_ = {};
  ++next_part_;
  state_.committed = part.committed;
  append(state_.entries, std::move(part.entries));
  append(state_.tombstones, std::move(part.tombstones));
  append(state_.boots, std::move(part.boots));
  append(state_.pending, std::move(part.pending));
  append(state_.drained, std::move(part.drained));
  if (next_part_ < part.parts) return std::nullopt;
  next_part_ = 0;
  return std::move(state_);
}

}  // namespace ssi
