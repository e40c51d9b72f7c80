// What a process is made of, as far as it matters for moving it: values only, no kernel, no /proc.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "migrate/fds/fifo.h"
#include "migrate/fds/file_lock.h"
#include "migrate/fds/proc_file.h"
#include "migrate/fds/pty.h"
#include "migrate/fds/unix_socket.h"
#include "migrate/net/moved_socket.h"

namespace ssi::check {

// Closed: whatever is not known is kOther.
enum class FdKind : std::uint8_t {
  kRegular,
  kDirectory,
  kDeletedFile,
  kKernelFile,  // in /proc, /sys, cgroups: its content belongs to this machine
  kNamespace,   // a link of /proc/PID/ns, opened
  kPipe,
  kFifo,
  kNullLike,        // null zero full random urandom
  kTty,             // a pseudo-terminal, or what controls the process
  kClosedTty,       // a pseudo-terminal that was hung up: its other side is gone
  kControllingTty,  // opened as /dev/tty
  kPtyMaster,
  kDevice,
  kUnixSocket,
  kInetSocket,
  kNetlinkSocket,
  kOtherSocket,
  kEventfd,
  kSignalfd,
  kTimerfd,
  kEpoll,
  kInotify,
  kFanotify,
  kMemfd,
  kPidfd,
  kUserfaultfd,
  kBpf,
  kPerf,
  kIoUring,
  kFuse,
  kPathOnly,  // O_PATH
  kOther,
};
inline constexpr int kFdKinds = static_cast<int>(FdKind::kOther) + 1;

// "a pipe", "a terminal"
const char* words(FdKind kind);

struct ProcessName {
  pid_t pid = 0;
  std::string comm;
  auto operator<=>(const ProcessName&) const = default;
};

struct OpenFileName {
  pid_t pid = 0;
  int number = -1;
  bool operator==(const OpenFileName&) const = default;
};

struct FdFact {
  int number = -1;
  FdKind kind = FdKind::kOther;
  std::uint32_t flags = 0;   // as of open(2)
  std::string target;        // as /proc shows it
  std::uint64_t device = 0;  // st_dev
  std::uint64_t inode = 0;
  std::string key;      // pipes, FIFOs, terminals, unix sockets: what criu calls it
  std::string same_as;  // /dev/tty: the key under which the process has that terminal, too
  std::string details;  // sockets: "tcp 10.77.0.1:41000 -> 10.77.0.2:80"
  bool listening = false;
  std::string protocol;                      // network sockets: "TCP", "UDPv6", ..
  std::optional<net::MovedSocket> socket{};  // of one that home can carry and that has an address
  std::uint32_t mode = 0;                    // st_mode
  std::uint64_t position = 0;                // bytes
  bool nameless = false;                     // FIFOs, path handles: deleted, or replaced
  bool of_kernel = false;                    // path handles: in /proc, /sys
  bool on_view = false;  // of some FUSE file system, as home's files are where a guest runs
  fds::HeldLocks locks{};
  // Of files with a lock: the first of the processes looked at that has this very open file, and
  // its first number there.
  OpenFileName open_file{};
  // Of files with a lease: whom the kernel tells when it is broken, as fds::LeaseSignal has it.
  pid_t lease_owner = 0;
  // Pipes, FIFOs: whether the process itself holds an end for reading and one for writing.
  bool other_end_inside = false;
  // Of them, whether one is for both directions.
  bool duplex_inside = false;
  // Pseudo-terminals, either side: which one.
  std::optional<fds::PtyName> pty{};
  // Masters: the session that it controls; /dev/tty: that of the process. 0: none.
  pid_t session = 0;
  // Terminals, /dev/tty: the process itself has the master.
  bool pty_inside = false;
  // Pipes, FIFOs, memory files, sockets: other processes that have it open. Masters: those that
  // have the master or a slave open, or whose session it controls.
  std::vector<ProcessName> holders{};
  // Pipes, FIFOs: those of them, but ourselves, that may read it.
  std::vector<ProcessName> readers{};
  // Not open, but sent to the socket `number` and not received yet.
  bool in_flight = false;
  pid_t handle_on = 0;        // pidfds: of whom, as migrate/fds/pidfd.h says
  fds::ProcFile proc_file{};  // kernel's files: what it tells of
  // What speaks against moving this one, as the end of a sentence; empty: nothing.
  std::string why_not{};
  // Unix sockets: those at its other end that are not the process's, and who has them open.
  std::vector<fds::SocketInode> peers{};
  std::string why_not_relayed{};  // what stands against relaying what it says to them
  std::vector<ProcessName> peer_holders{};
  std::uint32_t socket_type = 0;  // SOCK_STREAM ..
  // Of one that others find by its name: the address, as fds::address_at_home has it. They find it
  // at home, wherever the process is.
  std::string named_at{};
  // Sockets that are connected with it, by datagrams; of them, some that move along?
  std::vector<fds::SocketInode> clients{};
  bool has_own_clients = false;
  // Of one whose name was deleted, and that is bound to it again where it goes: the path of that.
  std::string former_path{};
  std::string renamed_to{};   // the path of one whose file has another name than it was bound to
  bool named_sender = false;  // a datagram waits that came from a socket with a name
  bool waits_inside = false;  // one of the process's own sockets waits there to be accepted

  // The carriers carry what goes between it and the process at its other end, which stays.
  bool relayed() const { return !peers.empty() && why_not_relayed.empty() && !in_flight; }
};

inline bool is_pipe(const FdFact& fd) {
  return fd.kind == FdKind::kPipe || fd.kind == FdKind::kFifo;
}
inline bool may_read(const FdFact& fd) { return (fd.flags & O_ACCMODE) != O_WRONLY; }
inline bool may_write(const FdFact& fd) { return (fd.flags & O_ACCMODE) != O_RDONLY; }

inline fds::Fifo fifo_of(const FdFact& fd) {
  const bool both = fd.duplex_inside || (may_read(fd) && may_write(fd));
  return {.both_directions = both,
          .unread = !both && may_write(fd) && !fd.other_end_inside && fd.readers.empty(),
          .nameless = fd.nameless,
          .held_by_others = !fd.holders.empty(),
          .not_there = fd.target.starts_with("/dev/")};
}

struct SharedMemory {
  std::string what;  // "anonymous shared memory", "System V shared memory", a path
  std::uint64_t inode = 0;
  bool writable = false;
  std::vector<ProcessName> sharers{};  // others
};

// A file that it has mapped and that has no name (any more); once, whatever number of mappings.
struct DeletedMapping {
  std::string path;
  std::string range;  // of one of them, as /proc/PID/map_files calls it
};

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

struct ProcessFacts {
  ProcessName name;
  pid_t own_pid = 0;  // as it calls itself, and its /proc does
  pid_t parent = 0;
  pid_t session = 0;                   // its leader, which may have ended; in our PID namespace
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat
  std::string exe;                     // without " (deleted)"
  bool exe_deleted = false;
  std::string cmdline;  // zero bytes made spaces
  std::string cwd;
  bool cwd_deleted = false;
  bool cwd_of_kernel = false;  // in /proc, /sys
  // It was the directory of a process whose PID one of those that move has now.
  bool cwd_pid_used_again = false;

  char state = 'R';  // as in /proc/PID/stat
  bool kernel_thread = false;
  int elf_bits = 64;
  int threads = 1;
  std::vector<ProcessName> children{};
  bool vfork_child = false;      // one of them still runs in the memory of this process
  ProcessName tracer{};          // pid 0: none
  bool pending_sigtrap = false;  // of one of its threads or of all
  bool no_new_privs = false;
  std::vector<std::string> other_namespaces{};  // kinds in which it differs from us: "pid", "mnt"
  // Kinds in which its children will differ from itself: "pid", "time".
  std::vector<std::string> children_namespaces{};
  bool root_deleted = false;  // chroot: that directory is gone

  uid_t uid = 0;  // real
  uid_t effective_uid = 0;
  std::uint64_t capabilities = 0;  // effective
  std::uint64_t rss_kb = 0;
  std::uint64_t locked_kb = 0;
  std::uint64_t stack_limit_kb = kNoLimit;  // soft limits
  std::uint64_t address_space_limit_kb = kNoLimit;
  std::uint64_t hugetlb_kb = 0;
  std::vector<FdFact> fds{};
  std::vector<SharedMemory> shared_memory{};
  bool has_system_v_memory = false;  // attached
  std::vector<std::string> device_mappings{};
  std::vector<DeletedMapping> deleted_mappings{};  // program or libraries replaced under it
};

}  // namespace ssi::check
