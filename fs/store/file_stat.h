// Attributes and identity of files as the store sees them, and what it must not show. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <set>

#include "fs/rpc/rpc.h"

namespace ssi::fs {

// What the store knows of a mounted file system, found out once per device number.
class FileStat {
 public:
  // Attributes of `name` in directory `dir`, or of `dir` itself if the name is empty; symbolic
  // links are not followed, mount points are crossed. 0 or an errno.
  int stat(int dir, const char* name, Attr& attr);
  // The same with flags, as clients are told.
  int describe(int dir, const char* name, Attr& attr);
  // Of a directory whose contents are not shown: an empty one that can't be changed. Asks nobody:
  // behind it may be a file system whose server hangs.
  int describe_hidden(int dir, const char* name, Attr& attr);

  // Who looks: guests of ours, or users of other nodes (/cluster/node).
  enum class Client { kGuests, kNodes };
  // Kernel interfaces (proc, sysfs, cgroup) and views of other nodes: their contents belong to a
  // node, not to its files. Guests see home's /cluster/node, other nodes see no view at all.
  bool is_hidden(std::uint64_t dev, Client client);
  void hide(std::uint64_t dev);
  void unhide(std::uint64_t dev);

 private:
  struct Device {
    bool tells_birth = false;
    bool hidden = false;
    bool is_view = false;
    std::int64_t forgotten_ms =
        0;  // of FUSE: the number may be used again by another one; 0: never
  };
  int stat(int dir, const char* name, int flags, Attr& attr);
  Device device(std::uint64_t dev, int dir, const char* name);

  std::mutex mutex_;
  std::map<std::uint64_t, Device> devices_;
  std::set<std::uint64_t> hidden_;
};

}  // namespace ssi::fs
