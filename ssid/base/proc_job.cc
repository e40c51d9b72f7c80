#include "ssid/base/proc_job.h"

#include <sys/sysmacros.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace ssi {

std::optional<ProcJob> proc_job(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  const std::size_t name_end = text.rfind(')');
  ProcJob job;
  int terminal = 0;
  if (name_end == text.npos ||
      std::sscanf(text.c_str() + name_end + 1, " %*c %d %d %d %d %d", &job.parent, &job.group,
                  &job.session, &terminal, &job.foreground) != 5) {
    return std::nullopt;
  }
  // The kernel's encoding for old programs: 12 bits of major number between those of the minor.
  const auto number = static_cast<unsigned>(terminal);
  job.terminal = makedev(number >> 8 & 0xfff, (number & 0xff) | (number >> 12 & 0xfff00));
  return job;
}

}  // namespace ssi
