#include "migrate/fds/deleted_file.h"

namespace ssi::fds {

std::string why_deleted_stays(std::string_view target) {
  // The kernel's own name: criu would make the descriptor and the memory two different ones.
  if (target.starts_with("/SYSV")) return "a handle on System V shared memory";
  return {};
}

}  // namespace ssi::fds
