#include "fs/view/criu_caller.h"

#include <unistd.h>

#include <string>
#include <string_view>

namespace ssi::fs {

bool is_criu(pid_t thread) {
  char exe[256];
  const std::string link = "/proc/" + std::to_string(thread) + "/exe";
  const ssize_t size = ::readlink(link.c_str(), exe, sizeof exe);
  return size > 0 && std::string_view(exe, static_cast<std::size_t>(size)).ends_with("/criu/ld.so");
}

}  // namespace ssi::fs
