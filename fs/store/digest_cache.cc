#include "fs/store/digest_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace ssi::fs {

bool DigestCache::find(const FileVersion& version, Sha256Digest& digest) {
  std::lock_guard lock(mutex_);
  const auto it = known_.find(version);
  if (it == known_.end()) return false;
  digest = it->second;
  return true;
}

void DigestCache::remember(const FileVersion& version, const Sha256Digest& digest) {
  std::lock_guard lock(mutex_);
  if (known_.size() >= kEntriesMax) known_.clear();
  known_.insert_or_assign(version, digest);
}

int DigestCache::compute(int fd, std::uint64_t size, Sha256Digest& digest) {
  Sha256 hash;
  std::vector<std::uint8_t> buffer(256 << 10);
  std::uint64_t offset = 0;
  while (offset < size) {
    const auto want = std::min<std::uint64_t>(buffer.size(), size - offset);
    const ssize_t got = ::pread(fd, buffer.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return EAGAIN;  // it was cut meanwhile
    hash.add({buffer.data(), static_cast<std::size_t>(got)});
    offset += static_cast<std::uint64_t>(got);
  }
  digest = hash.finish();
  return 0;
}

}  // namespace ssi::fs
