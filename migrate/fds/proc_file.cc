#include "migrate/fds/proc_file.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

namespace ssi::fds {
namespace {

// Directories, and what is the process's own and so the same there, byte by byte.
constexpr std::string_view kSteady[] = {"",     "fd",      "fdinfo", "task",
                                        "comm", "cmdline", "auxv",   "environ"};
constexpr std::string_view kSnapshots[] = {"status",        "stat",  "statm",        "limits",
                                           "maps",          "smaps", "smaps_rollup", "oom_score",
                                           "oom_score_adj", "io",    "wchan"};

bool take(std::string_view& path, std::string_view start) {
  if (!path.starts_with(start)) return false;
  path.remove_prefix(start.size());
  return true;
}

// "812/status" -> 812, "status"; 0: no number.
pid_t take_pid(std::string_view& path) {
  pid_t pid = 0;
  const char* const end = path.data() + path.size();
  const auto [at, bad] = std::from_chars(path.data(), end, pid);
  if (bad != std::errc{} || pid <= 0 || (at != end && *at != '/')) return 0;
  path.remove_prefix(static_cast<std::size_t>(at - path.data()) + (at == end ? 0 : 1));
  return pid;
}

}  // namespace

ProcFile parse_proc_file(std::string_view path, std::uint32_t flags, std::uint64_t position) {
  if (!take(path, "/proc/")) return {};
  ProcFile file;
  file.pid = take_pid(path);
  if (file.pid == 0) return {};
  if (take(path, "task/")) {
    const pid_t thread = take_pid(path);
    if (thread == 0) return {};
    file.of_thread = thread != file.pid;
  }
  file.may_be_written = (flags & O_ACCMODE) != O_RDONLY;
  if (std::ranges::find(kSteady, path) != std::end(kSteady)) return file;
  file.begun = position > 0;
  return std::ranges::find(kSnapshots, path) != std::end(kSnapshots) ? file : ProcFile{};
}

std::optional<std::string> proc_file_why_not(const ProcFile& file, const std::set<pid_t>& moving) {
  if (!moving.contains(file.pid)) {
    return "about process " + std::to_string(file.pid) + ", which stays";
  }
  if (file.of_thread) return "about one thread";
  if (file.may_be_written) return "that it may write to";
  if (file.begun) return "that it has begun to read";
  return {};
}

}  // namespace ssi::fds
