#include "fs/view/cgroup_threads.h"

#include <cstdio>
#include <memory>

namespace ssi::fs {

bool cgroup_has_thread(const std::string& cgroup, pid_t thread) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen((cgroup + "/cgroup.threads").c_str(), "re"), &std::fclose);
  if (!file) return false;
  char line[32];
  const std::string wanted = std::to_string(thread) + "\n";
  while (std::fgets(line, sizeof line, file.get()) != nullptr) {
    if (line == wanted) return true;
  }
  return false;
}

}  // namespace ssi::fs
