// /cluster/node: a directory for each node of the cluster. The carrier mounts a view of the node's
// files on each (ssid/carrier/node_views.h), so what is below is asked here only while it has not:
// then the node's files can't be had.
//
// Owned by ClusterFs; its thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fs/cluster/cluster_source.h"
#include "fs/cluster/fuse_answer.h"

namespace ssi::fs {

class NodeDir {
 public:
  explicit NodeDir(ClusterSource& source) : source_(source) {}

  void lookup(FuseAnswer answer, const std::string& name);
  std::vector<std::pair<std::string, std::uint64_t>> list() const;

 private:
  ClusterSource& source_;
};

}  // namespace ssi::fs
