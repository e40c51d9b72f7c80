// The mount at /cluster: etc/, node/ and proc/ (docs/cluster-fs.md tells what users see).
//
// One thread reads the kernel's requests and never waits: what is not known at once is answered
// when ClusterSource has the answer, by whichever thread that is. So a control loop that hangs
// holds up only those who ask it, and a signal ends their waiting; etc/ can be read all the same.
// When ssid dies the kernel closes /dev/fuse and every waiter gets an error at once; the next
// mount() takes the dead mount away. (A process of its own would stay mounted while ssid is away,
// but could answer nothing then.) While ssid is *stopped* (SIGSTOP) its waiters can't be killed:
// continue it or kill it.
//
// Owned by the daemon.
#pragma once

#include <memory>
#include <string>

#include "fs/cluster/cluster_source.h"
#include "ssid/base/result.h"

namespace ssi::fs {

class ClusterFs {
 public:
  // Makes the directory if it is not there. `source` must outlive the process' use of the mount.
  static Result<std::unique_ptr<ClusterFs>> mount(const std::string& directory,
                                                  ClusterSource& source);
  // Nobody waits any more after it; open files are lost.
  ~ClusterFs();

 private:
  struct Impl;
  explicit ClusterFs(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ssi::fs
