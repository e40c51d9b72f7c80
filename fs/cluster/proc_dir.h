// /cluster/proc as the kernel sees it: a directory a process, of the whole cluster, with a few
// files of which each read and each write is a question to ssid. An error comes back from open
// (reading) or write.
//
// Owned by ClusterFs; its thread, but for the answers.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fs/cluster/cluster_source.h"
#include "fs/cluster/fuse_answer.h"

namespace ssi::fs {

class ProcDir {
 public:
  explicit ProcDir(ClusterSource& source) : source_(source) {}

  // In /cluster/proc, and in the directory of a process.
  void lookup(FuseAnswer answer, const std::string& name);
  void lookup_file(FuseAnswer answer, std::uint64_t directory, const std::string& name);
  void getattr(FuseAnswer answer, std::uint64_t ino);
  void open(FuseAnswer answer, std::uint64_t ino, const fuse_file_info& info,
            const ClusterCaller& caller);
  void read(FuseAnswer answer, std::size_t size, off_t offset, const fuse_file_info& info);
  void write(FuseAnswer answer, std::uint64_t ino, std::string text, const ClusterCaller& caller);
  void release(FuseAnswer answer, const fuse_file_info& info);

  using Entries = std::vector<std::pair<std::string, std::uint64_t>>;
  void list(std::function<void(int, Entries)> done);
  static Entries files_of(std::uint64_t directory);

 private:
  void answer_attr(FuseAnswer answer, std::uint64_t ino, bool entry);

  ClusterSource& source_;
};

}  // namespace ssi::fs
