#include "fs/cluster/node_dir.h"

#include <sys/stat.h>

#include "fs/cluster/cluster_ino.h"

namespace ssi::fs {
namespace {

constexpr double kTimeout_s = 10;  // how long a node that was taken out of the cluster may show

}  // namespace

void NodeDir::lookup(FuseAnswer answer, const std::string& name) {
  for (const auto& [known, ino] : list()) {
    if (name != known) continue;
    fuse_entry_param found{};
    found.ino = ino;
    found.attr.st_ino = ino;
    found.attr.st_mode = S_IFDIR | 0555;
    found.attr.st_nlink = 2;
    found.attr.st_blksize = 4096;
    found.attr_timeout = found.entry_timeout = kTimeout_s;
    return answer.entry(found);
  }
  answer.error(ENOENT);
}

std::vector<std::pair<std::string, std::uint64_t>> NodeDir::list() const {
  std::vector<std::pair<std::string, std::uint64_t>> entries;
  for (const NodeId node : source_.nodes()) {
    entries.emplace_back(std::to_string(node.value), node_ino(node));
  }
  return entries;
}

}  // namespace ssi::fs
