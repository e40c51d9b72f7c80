#include "migrate/check/fd_facts.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "migrate/check/pipe_ends.h"
#include "migrate/check/pty_facts.h"
#include "migrate/check/socket_facts.h"
#include "migrate/fds/descriptor.h"
#include "migrate/fds/held_file.h"
#include "migrate/fds/inotify.h"
#include "migrate/fds/lease.h"
#include "migrate/fds/pidfd.h"
#include "migrate/move/stream_key.h"
#include "ssid/base/proc_job.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/unique_fd.h"

namespace ssi::check {
namespace {

constexpr int kKeptMax = 256;  // by a deputy
constexpr unsigned kMemoryDevices = 1, kTtyAlternates = 5, kMiscDevices = 10;
constexpr unsigned kPtsFirst = 136, kPtsLast = 143, kFuseMinor = 229;
constexpr unsigned kTtyMinor = 0, kPtmxMinor = 2;

constexpr int kTriesToRead = 5;

FdKind anonymous_kind(std::string_view name) {
  static constexpr std::pair<std::string_view, FdKind> kNames[] = {
      {"[eventfd]", FdKind::kEventfd}, {"[signalfd]", FdKind::kSignalfd},
      {"[timerfd]", FdKind::kTimerfd}, {"[eventpoll]", FdKind::kEpoll},
      {"inotify", FdKind::kInotify},   {"[fanotify]", FdKind::kFanotify},
      {"[pidfd]", FdKind::kPidfd},     {"[userfaultfd]", FdKind::kUserfaultfd},
      {"[perf_event]", FdKind::kPerf}, {"[io_uring]", FdKind::kIoUring},
      {"[fuse]", FdKind::kFuse},
  };
  for (const auto& [known, kind] : kNames) {
    if (name == known) return kind;
  }
  return name.starts_with("bpf") || name.starts_with("[bpf") ? FdKind::kBpf : FdKind::kOther;
}

// `terminal`: what controls the process if that is a job there. A console or a serial line is a
// terminal to its jobs; to others, and to a session's leader (getty, an X server), it is a device,
// with ioctls and a number of its own.
FdKind character_device_kind(const struct stat& st, dev_t terminal) {
  const dev_t device = st.st_rdev;
  const unsigned high = major(device), low = minor(device);
  if (high == kMemoryDevices) {
    return low == 3 || low == 5 || low == 7 || low == 8 || low == 9 ? FdKind::kNullLike
                                                                    : FdKind::kDevice;
  }
  if (high == kTtyAlternates && low == kTtyMinor) return FdKind::kControllingTty;
  if (high == kTtyAlternates && low == kPtmxMinor) return FdKind::kPtyMaster;
  if (high >= kPtsFirst && high <= kPtsLast) {
    return st.st_nlink == 0 ? FdKind::kClosedTty : FdKind::kTty;
  }
  if (device == terminal) return FdKind::kTty;
  return high == kMiscDevices && low == kFuseMinor ? FdKind::kFuse : FdKind::kDevice;
}

// Also one that lost this name, by which criu would open it, and has others. A view is not told of
// what others do at home: there the name is looked up.
bool was_deleted(const ProcDir& owner, const FdFact& fd, const struct stat& st) {
  if (st.st_nlink == 0) return true;
  if (!fd.on_view && !fd.target.ends_with(" (deleted)")) return false;
  struct stat named {};  // a name may end like that
  if (::lstat(owner.path("root" + fd.target).c_str(), &named) != 0) return true;
  return named.st_dev != st.st_dev || named.st_ino != st.st_ino;
}

// "net:[4026531840]" -> "net"; "" if it is no namespace.
std::string namespace_of(const std::string& target) {
  const std::size_t colon = target.find(":[");
  if (colon == std::string::npos || !target.ends_with("]") || target.starts_with("/")) return "";
  return target.substr(0, colon);
}

// What of the kernel's files can be found again by its name: not those of a process that is gone.
fds::ProcFile read_proc_file(const ProcDir& proc, const FdFact& fd, const struct stat& st,
                             const ProcDir& owner) {
  struct stat named {};
  if (::lstat(owner.path("root" + fd.target).c_str(), &named) != 0 || named.st_dev != st.st_dev ||
      named.st_ino != st.st_ino) {
    return {};
  }
  auto file = fds::parse_proc_file(fd.target, fd.flags, fd.position);
  if (file.begun) {
    const auto at_its_end = fds::is_at_its_end(proc.pid(), fd.number);
    file.begun = !at_its_end || !*at_its_end;
  }
  if (file.begun && file.mappings) {
    const auto now = owner.read("root" + fd.target);
    file.begun = !now || !fds::goes_on_there(*now, fd.position);
  }
  return file;
}

// The kernel's own file system of memory without a name, or 0.
dev_t device_of_memory_files() {
  static const dev_t device = [] {
    const UniqueFd memory(::memfd_create("ssid", MFD_CLOEXEC));
    struct stat st {};
    return memory && ::fstat(*memory, &st) == 0 ? st.st_dev : dev_t{0};
  }();
  return device;
}

// Also anonymous shared memory, opened by /proc/PID/map_files: it is the same thing to the kernel
// and to criu.
bool is_memory_file(const FdFact& fd, const struct stat& st) {
  return fd.target.starts_with("/memfd:") ||
         (fd.target == "/dev/zero (deleted)" && st.st_dev == device_of_memory_files());
}

std::string why_inotify_stays(pid_t pid, int number) {
  const auto watcher = fds::watcher_of(pid, number);
  if (watcher) return {};
  return watcher.error().code() == ErrorCode::kRefused ? watcher.error().message()
                                                       : "that can't be looked at";
}

FdKind kind_of(const ProcDir& proc, const std::string& file, const FdFact& fd,
               const struct stat& st, dev_t terminal, const ProcDir& owner, FileSystems& systems) {
  if (fd.flags & O_PATH) return FdKind::kPathOnly;
  if (fd.target.starts_with("anon_inode:")) return anonymous_kind(fd.target.substr(11));
  if (fd.target.starts_with("pidfd:")) return FdKind::kPidfd;
  if (is_memory_file(fd, st)) return FdKind::kMemfd;
  switch (st.st_mode & S_IFMT) {
    case S_IFSOCK:
      return socket_kind(socket_protocol(proc.path(file)));
    case S_IFIFO:
      return fd.target.starts_with("pipe:") ? FdKind::kPipe : FdKind::kFifo;
    case S_IFCHR:
      return character_device_kind(st, terminal);
    case S_IFBLK:
      return FdKind::kDevice;
    case S_IFREG:
      if (!namespace_of(fd.target).empty()) return FdKind::kNamespace;
      if (!fd.target.starts_with("/")) return FdKind::kOther;  // of no file system one could name
      if (systems.is_kernels(st.st_dev, proc.path(file))) return FdKind::kKernelFile;
      return was_deleted(owner, fd, st) ? FdKind::kDeletedFile : FdKind::kRegular;
    case S_IFDIR:
      if (systems.is_kernels(st.st_dev, proc.path(file))) return FdKind::kKernelFile;
      return was_deleted(owner, fd, st) ? FdKind::kDeletedFile : FdKind::kDirectory;
    default:
      return FdKind::kOther;
  }
}

Result<FdFact> read_fd_once(const ProcDir& proc, const std::string& number, dev_t terminal,
                            const ProcDir& owner, FileSystems& systems) {
  FdFact fd;
  fd.number = std::atoi(number.c_str());
  const std::string file = "fd/" + number;
  SSI_ASSIGN(fd.target, proc.link(file));
  SSI_ASSIGN(const struct stat st, proc.status(file));
  SSI_ASSIGN(const std::string info, proc.read("fdinfo/" + number));
  fd.flags = static_cast<std::uint32_t>(std::strtoul(field(info, "flags").c_str(), nullptr, 8));
  fd.position = std::strtoull(field(info, "pos").c_str(), nullptr, 10);
  fd.locks = fds::parse_locks(info);
  fd.device = st.st_dev;
  fd.inode = st.st_ino;
  fd.on_view = (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) &&
               systems.is_fuse(st.st_dev, proc.path(file));
  fd.kind = kind_of(proc, file, fd, st, terminal, owner, systems);
  if (fd.kind == FdKind::kPipe || fd.kind == FdKind::kTty || fd.kind == FdKind::kControllingTty ||
      fd.kind == FdKind::kUnixSocket) {
    fd.key = migrate::stream_key(st);
  }
  fd.mode = st.st_mode;
  if (S_ISSOCK(st.st_mode)) fd.protocol = socket_protocol(proc.path(file));
  if (fd.kind == FdKind::kPidfd) {
    fd.handle_on = fds::pidfd_target(info);
    fd.why_not = fds::pidfd_why_not(fd.handle_on, fd.flags, {owner.pid()}).value_or("");
  }
  if (fd.kind == FdKind::kInotify) fd.why_not = why_inotify_stays(owner.pid(), fd.number);
  if (fd.kind == FdKind::kKernelFile) {
    fd.proc_file = read_proc_file(proc, fd, st, owner);
    fd.why_not = fds::proc_file_why_not(fd.proc_file, {innermost_pid(owner.pid())}).value_or("");
  }
  // criu makes a pair there under the number of the closed one, and closes its master.
  if (fd.kind == FdKind::kClosedTty && !fd.target.starts_with("/dev/pts/")) {
    fd.why_not = "and was elsewhere than in /dev/pts";
  }
  if (fd.kind == FdKind::kNamespace) {
    const auto own = owner.link("ns/" + namespace_of(fd.target));
    if (!own || *own != fd.target) fd.why_not = "that is not its own";
  }
  if (fd.kind == FdKind::kFifo || fd.kind == FdKind::kPathOnly) {
    fd.nameless = was_deleted(owner, fd, st);
    fd.of_kernel = systems.is_kernels(st.st_dev, proc.path(file));
  }
  if (fd.kind == FdKind::kFifo) {
    const std::string key = fds::file_key(std::atol(field(info, "mnt_id").c_str()), st.st_ino);
    fd.key = fds::key_of_fifo_end(key, may_write(fd));
  }
  return fd;
}

}  // namespace

// The process runs: one that is closed, or another by now, while we look would be a mixture.
Result<FdFact> read_fd(const ProcDir& proc, const std::string& number, dev_t terminal,
                       const ProcDir& owner, FileSystems& systems) {
  for (int tries = 0;; ++tries) {
    SSI_ASSIGN(auto fd, read_fd_once(proc, number, terminal, owner, systems));
    SSI_ASSIGN(const std::string still, proc.link("fd/" + number));
    if (still == fd.target || tries == kTriesToRead) return fd;
  }
}

namespace {

void pair_pipe_ends(std::vector<FdFact>& fds) {
  PipeEnds ends;
  ends.add(fds);
  ends.pair(fds);
}

// Files of a view keep their locks at home: the kernel here does not know of them, but of leases.
void ask_for_locks(pid_t pid, std::vector<FdFact>& fds) {
  for (FdFact& fd : fds) {
    const Lease lease = fd.locks.lease;
    if (fd.on_view) fd.locks = fds::locks_in_view(pid, fd.number, lease.any());
    fd.locks.lease = lease;  // but that is the kernel's
    if (!lease.any()) continue;
    const auto file = fds::descriptor_of(pid, fd.number);
    if (!file) continue;
    if (const auto signal = fds::lease_signal_of(**file)) fd.lease_owner = signal->to;
  }
}

// criu takes the locks of a process, and then closes a descriptor of each file that it has mapped:
// the kernel drops the locks of such a file with that. And it opens such a file again to map it.
void find_mapped_locks(const ProcDir& proc, std::vector<FdFact>& fds) {
  const auto locked = [](const FdFact& fd) { return !fd.locks.of_process.empty(); };
  const auto leased = [](const FdFact& fd) { return fds::excludes_openings(fd.locks.lease); };
  if (std::ranges::none_of(fds, locked) && std::ranges::none_of(fds, leased)) return;
  const auto text = proc.read("maps");
  if (!text) return;
  const auto mappings = parse_maps(*text);
  for (FdFact& fd : fds) {
    const bool mapped = std::ranges::any_of(mappings, [&](const Mapping& m) {
      return m.name == fd.target ||
             (m.inode == fd.inode && makedev(m.device_major, m.device_minor) == fd.device);
    });
    if (mapped && locked(fd) && fd.why_not.empty()) {
      fd.why_not = "with a record lock (fcntl) and mapped, too: the lock would be lost";
    } else if (mapped && leased(fd) && fd.why_not.empty()) {
      fd.why_not = "with a lease (fcntl) and mapped, too: it could not be taken anew";
    }
  }
}

// Whose table of descriptors is the same one (CLONE_FILES); 0: nobody's.
pid_t shares_descriptors(pid_t pid) {
  for (const pid_t other : all_processes()) {
    if (other == pid) continue;
    if (::syscall(SYS_kcmp, pid, other, KCMP_FILES, 0, 0) == 0) return other;
  }
  return 0;
}

bool has_own_write_lock(const FdFact& fd) {
  return !fd.locks.at_home && fds::has_write_lock(fd.locks.of_process);
}

bool is_fifo_at_home(const ProcDir& proc, const FdFact& fd, FileSystems& systems) {
  return fd.kind == FdKind::kFifo && !fd.nameless && may_read(fd) && may_write(fd) &&
         !systems.is_fuse(fd.device, proc.path("fd/" + std::to_string(fd.number)));
}

// What stays with the original when it becomes the deputy, if it can keep it: record locks for
// writing, and named pipes that the guest takes along.
void find_what_is_kept(const ProcDir& proc, std::vector<FdFact>& fds, FileSystems& systems) {
  const auto is_kept = [&](const FdFact& fd) {
    return fd.why_not.empty() && (has_own_write_lock(fd) || is_fifo_at_home(proc, fd, systems));
  };
  if (std::ranges::none_of(fds, is_kept)) return;
  std::string why;
  const std::string filters = proc_status_line(proc.pid(), "Seccomp");
  if (!filters.empty() && std::atoi(filters.c_str()) != 0) {
    why = "which its deputy can't keep under a system call filter (seccomp)";
  } else if (const pid_t other = shares_descriptors(proc.pid()); other != 0) {
    why = "as has process " + std::to_string(other) + ", which shares its descriptors";
  } else if (std::ranges::count_if(fds, is_kept) > kKeptMax) {
    why = "of which its deputy can keep " + std::to_string(kKeptMax) + " descriptors";
  }
  for (FdFact& fd : fds) {
    if (!is_kept(fd)) continue;
    const bool locked = has_own_write_lock(fd);
    const std::string reason =
        locked && fd.on_view ? "which can't be handed over without a gap" : why;
    if (reason.empty()) continue;
    fd.why_not = (locked ? "with a record lock for writing (fcntl), " : "for both directions, ");
    fd.why_not += reason;
  }
}

void find_controlling_terminal(dev_t device, std::vector<FdFact>& fds) {
  const auto terminal = std::ranges::find_if(fds, [&](const FdFact& fd) {
    return fd.kind == FdKind::kTty && !fd.pty_inside && migrate::names_terminal(fd.key, device);
  });
  if (terminal == fds.end()) return;
  for (FdFact& fd : fds) {
    if (fd.kind == FdKind::kControllingTty && !fd.pty_inside) fd.same_as = terminal->key;
  }
}

}  // namespace

Result<std::vector<FdFact>> read_fds(const ProcDir& proc) {
  SSI_ASSIGN(const std::vector<std::string> numbers, proc.list("fd"));
  const auto job = proc_job(proc.pid());
  const dev_t terminal = job ? job->terminal : 0;
  const dev_t terminal_of_job = job && job->session != proc.pid() ? terminal : 0;
  FileSystems systems;
  std::vector<FdFact> fds;
  for (const auto& number : numbers) {
    auto fd = read_fd(proc, number, terminal_of_job, proc, systems);
    if (!fd && fd.error().code() == ErrorCode::kGone) return std::move(fd).error();
    if (!fd) continue;
    fds.push_back(std::move(*fd));
  }
  add_inet_facts(proc, fds);
  add_netlink_facts(proc, fds);
  std::ranges::sort(fds, {}, &FdFact::number);
  ask_for_locks(proc.pid(), fds);
  find_mapped_locks(proc, fds);
  find_what_is_kept(proc, fds, systems);
  pair_pipe_ends(fds);
  if (job) add_pty_facts(proc, *job, fds);
  find_controlling_terminal(terminal, fds);
  return fds;
}

Result<std::vector<FdFact>> read_all_fds(const ProcDir& proc) {
  SSI_ASSIGN(auto fds, read_fds(proc));
  SSI_TRY(add_unix_facts(proc, fds));
  pair_pipe_ends(fds);  // one in flight may be the other end
  return fds;
}

}  // namespace ssi::check
