// SHA-256 of whole files, each read once as long as it does not change. Thread-safe. Both sides of
// a local twin use it: the store for home's file, the view for its own.
#pragma once

#include <map>
#include <mutex>

#include "fs/rpc/rpc.h"
#include "ssid/wire/carrier/sha256.h"

namespace ssi::fs {

// What changes when a file's content does: `ctime` can't be set back by a program.
struct FileVersion {
  FileKey key;
  std::uint64_t size = 0;
  Time mtime, ctime;
  auto operator<=>(const FileVersion&) const = default;
};
inline FileVersion version_of(const Attr& a) { return {a.key, a.size, a.mtime, a.ctime}; }

class DigestCache {
 public:
  // The digest of the open regular file `fd`, whose attributes are `before`. 0 or an errno; EAGAIN
  // if it changed meanwhile. `stat` is asked again afterwards by the caller's function.
  template <typename StatFn>
  int digest(int fd, const Attr& before, StatFn stat_again, Sha256Digest& digest) {
    if (find(version_of(before), digest)) return 0;
    if (const int error = compute(fd, before.size, digest); error != 0) return error;
    Attr after;
    if (const int error = stat_again(after); error != 0) return error;
    if (version_of(after) != version_of(before)) return EAGAIN;
    remember(version_of(before), digest);
    return 0;
  }

 private:
  static constexpr std::size_t kEntriesMax = 65536;

  bool find(const FileVersion& version, Sha256Digest& digest);
  void remember(const FileVersion& version, const Sha256Digest& digest);
  static int compute(int fd, std::uint64_t size, Sha256Digest& digest);

  std::mutex mutex_;
  std::map<FileVersion, Sha256Digest> known_;
};

}  // namespace ssi::fs
