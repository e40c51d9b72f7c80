// Tells when the list on disk changes: written in place, replaced by rename (as editors do),
// deleted, created again, its directory appearing or disappearing, or a link on the way changed.
//
//   watcher.fd() readable, or once in a while anyway (FUSE and NFS tell nothing of changes made
//   elsewhere): if (auto list = watcher.changed()) use it
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "loadlevel/list/load_level_list.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

// Role: one inotify descriptor on the file and its directory (or the nearest one above that
// exists). Owned by the daemon; one thread. What may go wrong: no inotify left (error at open); the
// file can't be read (the old list stays in force, and `problem` says why).
class ListWatcher {
 public:
  static Result<ListWatcher> open(std::string path);

  // Poll it for reading.
  int fd() const { return *inotify_; }

  // Empties the descriptor and looks at the file, never blocks. The list if its text is another
  // than the last time (the first time: always).
  std::optional<LoadLevelList> changed();

  // Why the file could not be read the last time; empty if it could.
  const std::string& problem() const { return problem_; }

 private:
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Identity&) const = default;
  };
  ListWatcher(std::string path, UniqueFd inotify);
  void arm();
  static Identity identity_of(const std::string& path);

  std::string path_;
  UniqueFd inotify_;
  std::optional<Identity> seen_;
  std::optional<std::string> text_;
  std::string problem_;
};

}  // namespace ssi
