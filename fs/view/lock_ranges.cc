#include "fs/view/lock_ranges.h"

#include <fcntl.h>

namespace ssi::fs {

std::vector<RecordLock> with_lock(const std::vector<RecordLock>& held, const RecordLock& lock) {
  std::vector<RecordLock> kept;
  for (const RecordLock& range : held) {
    if (range.end < lock.start || range.start > lock.end) {
      kept.push_back(range);
      continue;
    }
    if (range.start < lock.start) kept.push_back({range.start, lock.start - 1, range.type});
    if (range.end > lock.end) kept.push_back({lock.end + 1, range.end, range.type});
  }
  if (lock.type != F_UNLCK) kept.push_back(lock);
  return kept;
}

}  // namespace ssi::fs
