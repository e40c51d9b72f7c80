#include "migrate/fds/proc_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "migrate/fds/descriptor.h"

namespace ssi::fds {
namespace {

// Directories, and what is the process's own and so the same there, byte by byte.
constexpr std::string_view kSteady[] = {"",     "fd",      "fdinfo", "task",
                                        "comm", "cmdline", "auxv",   "environ"};
constexpr std::string_view kSnapshots[] = {"status",        "stat",  "statm",        "limits",
                                           "maps",          "smaps", "smaps_rollup", "oom_score",
                                           "oom_score_adj", "io",    "wchan"};

constexpr std::string_view kOfMachine[] = {
    "buddyinfo",  "cmdline", "cpuinfo",      "devices",         "diskstats",   "filesystems",
    "interrupts", "loadavg", "meminfo",      "modules",         "partitions",  "pressure",
    "softirqs",   "stat",    "pressure/cpu", "pressure/memory", "pressure/io", "slabinfo",
    "uptime",     "version", "vmstat",       "zoneinfo",        "pressure/irq"};
constexpr std::string_view kOfMachineAll[] = {"sys/fs/", "sys/kernel/", "sys/vm/"};

// The first process of a machine; for a guest, of its realm.
constexpr pid_t kInit = 1;

// Longer than any of these files.
constexpr std::uint64_t kPastTheEnd = std::uint64_t{1} << 40;

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

// A line of maps. A deleted file is held under a name of ours there; memory never had one.
bool is_called_otherwise_there(std::string_view line) {
  const auto has = [line](std::string_view name) { return line.find(name) != line.npos; };
  return line.ends_with(" (deleted)") && !has(" /memfd:") && !has(" /SYSV") && !has(" /dev/zero ");
}

// "START-END PERM OFFSET DEVICE INODE NAME": has who read so many bytes of it read a part of device
// and inode? They are others there.
bool is_within_device(std::string_view line, std::uint64_t read) {
  std::size_t device = 0;
  for (int i = 0; i < 3; ++i) device = std::min(line.find(' ', device), line.size() - 1) + 1;
  const std::size_t end = line.find(' ', std::min(line.find(' ', device), line.size() - 1) + 1);
  return read > device && read < end;
}

bool is_of_machine(std::string_view path) {
  const auto begins = [path](std::string_view start) { return path.starts_with(start); };
  return std::ranges::find(kOfMachine, path) != std::end(kOfMachine) ||
         std::ranges::any_of(kOfMachineAll, begins);
}

}  // namespace

ProcFile parse_proc_file(std::string_view path, std::uint32_t flags, std::uint64_t position) {
  ProcFile file;
  file.may_be_written = (flags & O_ACCMODE) != O_RDONLY;
  // Who lists it goes on with the next PID.
  if (path == "/proc") file.about = ProcFile::About::kMachine;
  if (!take(path, "/proc/")) return file;
  if (is_of_machine(path)) {
    file.about = ProcFile::About::kMachine;
    file.begun = position > 0;
    return file;
  }
  file.pid = take_pid(path);
  if (file.pid == 0) return {};
  if (take(path, "task/")) {
    const pid_t thread = take_pid(path);
    if (thread == 0) return {};
    file.of_thread = thread != file.pid;
  }
  const bool steady = std::ranges::find(kSteady, path) != std::end(kSteady);
  if (!steady && std::ranges::find(kSnapshots, path) == std::end(kSnapshots)) return {};
  file.about = ProcFile::About::kProcess;
  file.begun = position > 0 && (!steady || file.pid == kInit);
  file.mappings = path == "maps" && file.pid != kInit;
  return file;
}

std::optional<std::string> proc_file_why_not(const ProcFile& file, const std::set<pid_t>& moving) {
  if (file.about == ProcFile::About::kProcess && file.pid != kInit && !moving.contains(file.pid)) {
    return "about process " + std::to_string(file.pid) + ", which stays";
  }
  if (file.of_thread) return "about one thread";
  if (file.may_be_written) return "that it may write to";
  if (file.begun) return "that it has begun to read";
  return {};
}

pid_t ended_process(std::string_view path) {
  if (!take(path, "/proc/")) return 0;
  const pid_t pid = take_pid(path);
  return path.empty() ? pid : 0;
}

bool goes_on_there(std::string_view maps, std::uint64_t position) {
  if (position > maps.size()) return false;
  for (std::uint64_t left = position; left > 0;) {
    const std::string_view line = maps.substr(0, maps.find('\n'));
    if (is_called_otherwise_there(line)) return false;
    if (left <= line.size()) return !is_within_device(line, left);
    left -= line.size() + 1;
    maps.remove_prefix(line.size() + 1);
  }
  return true;
}

std::uint64_t position_there(std::string_view path, std::uint64_t position) {
  const ProcFile file = parse_proc_file(path, O_RDONLY, position);
  return file.begun && !file.mappings ? kPastTheEnd : position;
}

Result<bool> is_at_its_end(pid_t pid, int number) {
  static void* const nowhere = ::mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (nowhere == MAP_FAILED) return Error::from_errno("mmap");
  SSI_ASSIGN(const UniqueFd fd, descriptor_of(pid, number));
  const ssize_t got = ::read(*fd, nowhere, 1);
  if (got < 0 && errno != EFAULT) return Error::from_errno("read");
  return got == 0;
}

}  // namespace ssi::fds
