// /cluster/etc as the kernel sees it. What a writer has written is his own until close or fsync:
// then it is one change of the cluster's files, and the error comes back from there. Without quorum
// a file can't be opened for writing at all.
//
//   opened with O_TRUNC or new   the whole of it becomes the new version, whoever wrote meanwhile
//   opened with O_APPEND         what was written is appended to what is there then
//   else                         only if nobody else has changed it since: ESTALE
//
// Owned by ClusterFs; its thread, but for the ends of changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fs/cluster/cluster_source.h"
#include "fs/cluster/fuse_answer.h"

namespace ssi::fs {

class EtcDir {
 public:
  explicit EtcDir(ClusterSource& source) : source_(source) {}

  void lookup(FuseAnswer answer, const std::string& name);
  void getattr(FuseAnswer answer, std::uint64_t ino, const fuse_file_info* info);
  void setattr(FuseAnswer answer, std::uint64_t ino, const struct stat& wanted, int to_set,
               const fuse_file_info* info, const ClusterCaller& caller);
  void create(FuseAnswer answer, const std::string& name, mode_t mode, const fuse_file_info& info,
              const ClusterCaller& caller);
  void open(FuseAnswer answer, std::uint64_t ino, const fuse_file_info& info,
            const ClusterCaller& caller);
  void read(FuseAnswer answer, std::size_t size, off_t offset, const fuse_file_info& info);
  void write(FuseAnswer answer, const char* bytes, std::size_t size, off_t offset,
             const fuse_file_info& info);
  void flush(FuseAnswer answer, const fuse_file_info& info);
  void fsync(FuseAnswer answer, const fuse_file_info& info);
  void release(FuseAnswer answer, const fuse_file_info& info);
  void unlink(FuseAnswer answer, const std::string& name, const ClusterCaller& caller);
  void rename(FuseAnswer answer, const std::string& name, const std::string& to, unsigned int flags,
              const ClusterCaller& caller);

  // Names and inode numbers, for a listing.
  std::map<std::string, std::uint64_t> list();

 private:
  // A file opened by somebody. Kept by shared_ptr: a change may end after the close.
  struct Open {
    std::mutex mutex;
    std::uint64_t ino = 0;
    bool append = false;        // only appended to
    bool at_end = false;        // O_APPEND
    bool whole = false;         // what is in `contents` replaces whatever there is
    bool dirty = false;         // something has been written
    bool truncated = false;     // by open() alone: a change at the last close, lest a shell's first
                                // dup empties the file
    std::string contents;       // append: only what is to be appended
    std::uint64_t version = 0;  // which `contents` began as
  };
  using OpenPtr = std::shared_ptr<Open>;

  static const OpenPtr& open_of(const fuse_file_info& info);
  static OpenPtr make_open(std::uint64_t ino, const etc::File& file, int flags);
  void opened(const FuseAnswer& answer, const OpenPtr& open, const fuse_file_info& info,
              const fuse_entry_param* created);
  void store(FuseAnswer answer, const OpenPtr& open);
  std::uint64_t ino_of(const std::string& name);
  std::optional<std::string> name_of(std::uint64_t ino);
  fuse_entry_param entry_of(const std::string& name, const etc::File& file);
  static struct stat stat_of(std::uint64_t ino, const etc::File& file, std::size_t size);

  ClusterSource& source_;
  // Names keep their numbers while ssid runs; a renamed file takes its number along.
  std::mutex names_mutex_;
  std::map<std::string, std::uint64_t> ino_of_;
  std::map<std::uint64_t, std::string> name_of_;
  std::uint64_t last_number_ = 0;
};

}  // namespace ssi::fs
