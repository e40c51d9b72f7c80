// The ranges of record locks that one owner holds of a file. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace ssi::fs {

struct RecordLock {
  std::uint64_t start, end;  // inclusive
  std::uint32_t type;        // F_RDLCK, F_WRLCK
  bool operator==(const RecordLock&) const = default;
};

// Of one process.
struct ProcessLocks {
  int process = 0;  // in our PID namespace
  std::vector<RecordLock> ranges{};
};

// What is held after it got `lock`, or let that range go (F_UNLCK).
std::vector<RecordLock> with_lock(const std::vector<RecordLock>& held, const RecordLock& lock);

}  // namespace ssi::fs
