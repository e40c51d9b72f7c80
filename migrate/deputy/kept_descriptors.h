// Which descriptors of an original its deputy keeps:
//
//   * those of files of which it has a record lock for writing (fcntl F_SETLK), which the kernel
//     lets belong to no other process. The kernel drops all its locks of a file when any descriptor
//     of it is closed, so all of them.
//   * those of named pipes for both directions (O_RDWR), which the guest takes along: who opens one
//     at home finds its other end, as before (migrate/fds/fifo.h).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace ssi::deputy {

struct KeptDescriptor {
  int number = -1;
  bool closed_by_exec = false;  // FD_CLOEXEC, which has to be taken off
  bool operator==(const KeptDescriptor&) const = default;
};

// By number. Of a process that stands still.
std::vector<KeptDescriptor> kept_descriptors(pid_t pid);

// For the deputy (kEnvKeep).
std::string kept_list(const std::vector<KeptDescriptor>& kept);

}  // namespace ssi::deputy
