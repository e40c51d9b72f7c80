#include "migrate/check/fd_facts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "migrate/check/socket_table.h"
#include "migrate/move/stream_key.h"
#include "ssid/base/proc_job.h"

namespace ssi::check {
namespace {

constexpr unsigned kMemoryDevices = 1, kTtyAlternates = 5, kMiscDevices = 10;
constexpr unsigned kPtsFirst = 136, kPtsLast = 143, kFuseMinor = 229;
constexpr unsigned kTtyMinor = 0, kPtmxMinor = 2;

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

bool belongs_to_the_kernel(const std::string& path) {
  struct statfs fs {};
  if (::statfs(path.c_str(), &fs) != 0) return false;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
      return true;
    default:
      return false;
  }
}

// Also of sockets that no table lists, as those that were never bound.
FdKind socket_kind(const std::string& path) {
  char name[64] = {};
  const ssize_t size = ::getxattr(path.c_str(), "system.sockprotoname", name, sizeof name - 1);
  if (size <= 0) return FdKind::kOtherSocket;
  const std::string_view protocol(name);
  if (protocol.starts_with("UNIX")) return FdKind::kUnixSocket;
  if (protocol == "NETLINK") return FdKind::kNetlinkSocket;
  for (const std::string_view inet : {"TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6",
                                      "RAW", "RAWv6", "PING", "PINGv6", "MPTCP", "MPTCPv6"}) {
    if (protocol == inet) return FdKind::kInetSocket;
  }
  return FdKind::kOtherSocket;
}

// Also one that lost this name, by which criu would open it, and has others.
bool was_deleted(const ProcDir& proc, const FdFact& fd, const struct stat& st) {
  if (st.st_nlink == 0) return true;
  if (!fd.target.ends_with(" (deleted)")) return false;
  const auto named = proc.status("root" + fd.target);  // a name may end like that
  return !named || named->st_dev != st.st_dev || named->st_ino != st.st_ino;
}

FdKind kind_of(const ProcDir& proc, const std::string& file, const FdFact& fd,
               const struct stat& st, dev_t terminal) {
  if (fd.flags & O_PATH) return FdKind::kPathOnly;
  if (fd.target.starts_with("anon_inode:")) return anonymous_kind(fd.target.substr(11));
  if (fd.target.starts_with("pidfd:")) return FdKind::kPidfd;
  if (fd.target.starts_with("/memfd:")) return FdKind::kMemfd;
  switch (st.st_mode & S_IFMT) {
    case S_IFSOCK:
      return socket_kind(proc.path(file));
    case S_IFIFO:
      return fd.target.starts_with("pipe:") ? FdKind::kPipe : FdKind::kFifo;
    case S_IFCHR:
      return character_device_kind(st, terminal);
    case S_IFBLK:
      return FdKind::kDevice;
    case S_IFREG:
      if (!fd.target.starts_with("/")) return FdKind::kOther;  // of no file system one could name
      if (belongs_to_the_kernel(proc.path(file))) return FdKind::kKernelFile;
      return was_deleted(proc, fd, st) ? FdKind::kDeletedFile : FdKind::kRegular;
    case S_IFDIR:
      if (belongs_to_the_kernel(proc.path(file))) return FdKind::kKernelFile;
      return was_deleted(proc, fd, st) ? FdKind::kDeletedFile : FdKind::kDirectory;
    default:
      return FdKind::kOther;
  }
}

SocketTable read_sockets(const ProcDir& proc) {
  SocketTable table;
  for (const char* protocol : {"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "icmp", "icmp6"}) {
    if (auto text = proc.read(std::string("net/") + protocol)) {
      add_inet_sockets(table, protocol, *text);
    }
  }
  if (auto text = proc.read("net/unix")) add_unix_sockets(table, *text);
  return table;
}

Result<FdFact> read_fd(const ProcDir& proc, const std::string& number, dev_t terminal) {
  FdFact fd;
  fd.number = std::atoi(number.c_str());
  const std::string file = "fd/" + number;
  SSI_ASSIGN(fd.target, proc.link(file));
  SSI_ASSIGN(const struct stat st, proc.status(file));
  SSI_ASSIGN(const std::string info, proc.read("fdinfo/" + number));
  fd.flags = static_cast<std::uint32_t>(std::strtoul(field(info, "flags").c_str(), nullptr, 8));
  fd.locked = info.starts_with("lock:") || info.find("\nlock:") != std::string::npos;
  fd.device = st.st_dev;
  fd.inode = st.st_ino;
  fd.kind = kind_of(proc, file, fd, st, terminal);
  if (fd.kind == FdKind::kPipe || fd.kind == FdKind::kTty || fd.kind == FdKind::kControllingTty) {
    fd.key = migrate::stream_key(st);
  }
  return fd;
}

bool is_socket(FdKind kind) { return kind == FdKind::kInetSocket || kind == FdKind::kUnixSocket; }

void pair_pipe_ends(std::vector<FdFact>& fds) {
  for (auto& fd : fds) {
    if (fd.kind != FdKind::kPipe) continue;
    bool reads = false, writes = false;
    for (const auto& other : fds) {
      if (other.kind != FdKind::kPipe || other.inode != fd.inode) continue;
      reads |= (other.flags & O_ACCMODE) != O_WRONLY;
      writes |= (other.flags & O_ACCMODE) != O_RDONLY;
    }
    fd.other_end_inside = reads && writes;
  }
}

void find_controlling_terminal(dev_t device, std::vector<FdFact>& fds) {
  const auto terminal = std::ranges::find_if(fds, [&](const FdFact& fd) {
    return fd.kind == FdKind::kTty && migrate::names_terminal(fd.key, device);
  });
  if (terminal == fds.end()) return;
  for (FdFact& fd : fds) {
    if (fd.kind == FdKind::kControllingTty) fd.same_as = terminal->key;
  }
}

}  // namespace

Result<std::vector<FdFact>> read_fds(const ProcDir& proc) {
  SSI_ASSIGN(const std::vector<std::string> numbers, proc.list("fd"));
  const auto job = proc_job(proc.pid());
  const dev_t terminal = job ? job->terminal : 0;
  const dev_t terminal_of_job = job && job->session != proc.pid() ? terminal : 0;
  std::vector<FdFact> fds;
  std::optional<SocketTable> sockets;
  for (const auto& number : numbers) {
    auto fd = read_fd(proc, number, terminal_of_job);
    if (!fd && fd.error().code() == ErrorCode::kGone) return std::move(fd).error();
    if (!fd) continue;
    if (is_socket(fd->kind)) {
      if (!sockets) sockets = read_sockets(proc);
      if (const auto words = sockets->find(fd->inode); words != sockets->end()) {
        fd->details = words->second.details;
        fd->listening = words->second.listening;
      }
    }
    fds.push_back(std::move(*fd));
  }
  std::ranges::sort(fds, {}, &FdFact::number);
  pair_pipe_ends(fds);
  find_controlling_terminal(terminal, fds);
  return fds;
}

}  // namespace ssi::check
