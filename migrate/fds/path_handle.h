// Handles of O_PATH: they name a file and have nothing else, so they are made anew by that name
// where the process goes; one of a file without a name by what home holds (held_file.h). Pure: what
// keeps one at home.
#pragma once

#include <sys/types.h>

#include <string>

namespace ssi::fds {

struct PathHandle {
  mode_t type = 0;         // S_IFMT bits of what it names
  bool of_kernel = false;  // in /proc, /sys
};

// "" if nothing does.
std::string why_path_handle_stays(const PathHandle& handle);

}  // namespace ssi::fds
