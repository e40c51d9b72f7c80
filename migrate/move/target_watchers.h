// The inotify instances of a process that comes (migrate/fds/inotify.h), from the moment at which
// they are made, while it runs at the source, until they are its own.
//
// Owned by a target's move.
#pragma once

#include <vector>

#include "migrate/criu/criu_rpc.h"
#include "migrate/fds/held_file.h"
#include "migrate/fds/inotify.h"
#include "migrate/move/environment.h"
#include "migrate/move/image_dir.h"

namespace ssi::migrate {

class TargetWatchers {
 public:
  TargetWatchers(MoveHost& host, NodeId home, bool at_home)
      : host_(host), home_(home), at_home_(at_home) {}

  // From now on these hear what happens here, and have heard nothing else.
  // Not `in_time`: criu was started, and has been given what it gets.
  Result<> listen(std::vector<fds::Watcher> wanted, bool in_time);
  // Files without names are among `held`, and are there only now.
  Result<> watch_deleted(const std::vector<UniqueFd>& held) const;
  // To criu, behind what it is given already.
  void give(std::vector<InheritFd>& inherit, std::vector<UniqueFd>& given) const;
  // Whoever watches the directory would hear of the name that a deleted file is given back.
  fds::HeldFile as_to_open(const fds::HeldFile& file) const;
  Result<> set_images(const ImageDir& images) const;
  // They are these processes' own: who looks for watches finds them there.
  Result<> hand_over(const FreezerCgroup& cgroup) const;

 private:
  MoveHost& host_;
  const NodeId home_;
  const bool at_home_;
  std::vector<fds::Watcher> wanted_;
  std::vector<UniqueFd> listening_;  // one for each of these
};

}  // namespace ssi::migrate
