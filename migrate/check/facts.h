// What a process is made of, as far as it matters for moving it: values only, no kernel, no /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ssi::check {

// Closed: whatever is not known is kOther.
enum class FdKind : std::uint8_t {
  kRegular,
  kDirectory,
  kDeletedFile,
  kKernelFile,  // in /proc, /sys, cgroups: its content belongs to this machine
  kPipe,
  kFifo,
  kNullLike,        // null zero full random urandom
  kTty,             // a pseudo-terminal, or what controls the process
  kClosedTty,       // hung up: its other side is gone
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

struct FdFact {
  int number = -1;
  FdKind kind = FdKind::kOther;
  std::uint32_t flags = 0;   // as of open(2)
  std::string target;        // as /proc shows it
  std::uint64_t device = 0;  // st_dev
  std::uint64_t inode = 0;
  std::string key;      // pipes, terminals: what criu calls it
  std::string same_as;  // /dev/tty: the key under which the process has that terminal, too
  std::string details;  // sockets: "tcp 10.77.0.1:41000 -> 10.77.0.2:80"
  bool listening = false;
  bool locked = false;  // a lock is held by it (flock, fcntl or a lease)
  // Pipes: whether the process itself holds an end for reading and one for writing.
  bool other_end_inside = false;
  // Pipes, memory files: other processes that have it open.
  std::vector<ProcessName> holders{};
  // Pipes: one of them, other than ourselves, holds the end for reading.
  bool read_by_others = false;
};

struct SharedMemory {
  std::string what;  // "anonymous shared memory", "System V shared memory", a path
  std::uint64_t inode = 0;
  bool writable = false;
  std::vector<ProcessName> sharers{};  // others
};

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

struct ProcessFacts {
  ProcessName name;
  pid_t parent = 0;
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat
  std::string exe;                     // without " (deleted)"
  bool exe_deleted = false;
  std::string cmdline;  // zero bytes made spaces
  std::string cwd;
  bool cwd_deleted = false;

  char state = 'R';  // as in /proc/PID/stat
  bool kernel_thread = false;
  int elf_bits = 64;
  int threads = 1;
  std::vector<ProcessName> children{};
  bool vfork_child = false;  // one of them still runs in the memory of this process
  ProcessName tracer{};      // pid 0: none
  int seccomp_mode = 0;
  bool pending_sigtrap = false;  // of one of its threads or of all
  bool no_new_privs = false;
  std::vector<std::string> other_namespaces{};  // kinds in which it differs from us: "pid", "mnt"
  // Kinds in which its children will differ from itself: "pid", "time".
  std::vector<std::string> children_namespaces{};
  bool other_root = false;

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
  std::vector<std::string> device_mappings{};
  std::vector<std::string> deleted_mappings{};  // program or libraries replaced under it
};

}  // namespace ssi::check
