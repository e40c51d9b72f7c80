// Local twins: a file of home that exists on this node too, with the same bytes, is read from here.
// Only files that nobody but root could have changed are considered, at the same path, with the
// same size, owner, mode and modification time to the nanosecond; and both are read once and must
// have the same SHA-256. (Rejected: trusting an ELF build-id. It saves one read of the file, and a
// patched copy with its time set back would pass.) Until the digests are known, and whenever either
// file changes, the bytes come from home.
//
// Owned by a view; a thread of its own asks home and reads, so an open never waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "fs/store/digest_cache.h"
#include "fs/store/file_stat.h"
#include "fs/view/remote.h"
#include "fs/view/view_node.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {

// An open local file whose bytes were home's when both were read.
class TwinFile {
 public:
  TwinFile(UniqueFd fd, FileVersion local, FileVersion home)
      : fd_(std::move(fd)), local_(local), home_(home) {}

  // A descriptor to read from, or -1 if the local file has changed since.
  int fd(FileStat& stat) const;
  const FileVersion& home() const { return home_; }

 private:
  UniqueFd fd_;
  FileVersion local_;
  FileVersion home_;
};

class Twins {
 public:
  struct Options {
    std::string local_root = "/";
    std::uint64_t file_bytes_min = 4096;
    std::uint64_t file_bytes_max = 1ull << 30;
  };
  Twins(Options options, Remote& remote, const NodeIndex& nodes, DigestCache& digests);
  ~Twins();

  // Could a file with these attributes have a twin?
  bool may_have_one(const Attr& home) const;
  // Looks for it, later; sets node.twin if it is found.
  void look_for(ViewNodePtr node);

  FileStat& stat() { return stat_; }
  std::uint64_t found() const { return found_; }
  std::uint64_t rejected() const { return rejected_; }  // looked alike and had other bytes

 private:
  void run();
  void find(const ViewNodePtr& node);

  const Options options_;
  Remote& remote_;
  const NodeIndex& nodes_;
  DigestCache& digests_;
  FileStat stat_;
  UniqueFd root_;
  std::atomic<std::uint64_t> found_{0};
  std::atomic<std::uint64_t> rejected_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ViewNodePtr> queue_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ssi::fs
