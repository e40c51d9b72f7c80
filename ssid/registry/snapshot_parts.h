// A table and its pending operations as Snapshot messages of moderate size, and back.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "ssid/registry/process_table.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

struct TableState {
  std::uint64_t committed = 0;  // operations in the table
  std::vector<TableEntry> entries;
  std::vector<Tombstone> tombstones;
  std::vector<group::Boot> boots;
  std::vector<group::PendingOperation> pending;
  std::vector<NodeId> drained;
};

std::vector<group::Snapshot> cut_snapshot(const ProcessTable& table, std::uint64_t committed,
                                          const std::deque<group::PendingOperation>& pending,
                                          std::uint64_t nonce, std::uint64_t ballot);

// Parts come in order or not at all.
class SnapshotReader {
 public:
  // The whole, once the last part is there. A part out of order begins anew.
  std::optional<TableState> add(group::Snapshot part);

 private:
  TableState state_;
  std::uint32_t next_part_ = 0;
};

}  // namespace ssi
