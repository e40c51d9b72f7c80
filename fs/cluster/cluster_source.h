// What /cluster shows, as the file system asks for it. The daemon answers.
//
// Called on the file system's thread; must not block. `done` is called exactly once, on any thread,
// also before the call returns; an int is an errno, or 0.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/etc/shared_files.h"
#include "ssid/base/ids.h"

namespace ssi::fs {

// Who asks, as the kernel says it.
struct ClusterCaller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;  // 0: it lives in another PID namespace
};

// The files of /cluster/proc/PID. The numbers are part of inode numbers.
enum class ProcFile { kLoadlevel = 1, kWhere = 2, kGoto = 3, kCantmove = 4, kNmigs = 5 };

class ClusterSource {
 public:
  virtual ~ClusterSource() = default;

  virtual NodeId self() const = 0;
  // All that belong to the cluster, up or not; at once.
  virtual std::vector<NodeId> nodes() const = 0;

  // ---- etc/: what is decided, at once
  virtual std::shared_ptr<const SharedFiles> etc() const = 0;
  virtual bool etc_writable() const = 0;
  virtual void change_etc(etc::Change change, std::function<void(int)> done) = 0;

  // ---- proc/
  // ENOENT: there is no such process.
  virtual void owner_of(SsiPid pid, std::function<void(int, uid_t)> done) = 0;
  virtual void list_processes(std::function<void(int, std::vector<SsiPid>)> done) = 0;
  virtual void read_process(SsiPid pid, ProcFile file, ClusterCaller caller,
                            std::function<void(int, std::string)> done) = 0;
  virtual void write_process(SsiPid pid, ProcFile file, std::string text, ClusterCaller caller,
                             std::function<void(int)> done) = 0;
};

}  // namespace ssi::fs
