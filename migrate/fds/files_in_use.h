// The files that processes have open or mapped, by name, so that they can be looked for where the
// processes will be rebuilt before that begins: each asks home there, one after the other. A hint:
// who is wrong loses time. Any thread.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

inline constexpr std::size_t kFilesInUseMax = 4096;

struct FileInUse {
  std::string path;
  bool written = false;  // by some, who may read it, too
};

// Regular files, each once; none of which one has a lease, that an opening would break.
std::vector<FileInUse> files_in_use(std::span<const pid_t> pids);

// Looks for them: what is known of them afterwards need not be asked for a second.
void look_for_files(int root, std::span<const FileInUse> files);

// Opened as they were, below that root and by no link; those that can't be are left out.
std::vector<UniqueFd> open_files(int root, std::span<const FileInUse> files);

}  // namespace ssi::fds
