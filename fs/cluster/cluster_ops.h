// The kernel's requests to /cluster, handed to the directory that they concern.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "fs/cluster/etc_dir.h"
#include "fs/cluster/node_dir.h"
#include "fs/cluster/proc_dir.h"

namespace ssi::fs {

// The session's user data.
struct ClusterDirs {
  explicit ClusterDirs(ClusterSource& source) : etc(source), proc(source), nodes(source) {}
  EtcDir etc;
  ProcDir proc;
  NodeDir nodes;
};

extern const fuse_lowlevel_ops kClusterOps;

}  // namespace ssi::fs
