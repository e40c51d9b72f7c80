#include "migrate/fds/path_handle.h"

#include <sys/stat.h>

namespace ssi::fds {

std::string why_path_handle_stays(const PathHandle& handle) {
  if (handle.of_kernel) return "a path handle (O_PATH) of a file of this machine's kernel";
  if (S_ISREG(handle.type) || S_ISDIR(handle.type) || S_ISLNK(handle.type)) return {};
  return "a path handle (O_PATH) of something that is no file, directory or link";
}

}  // namespace ssi::fds
