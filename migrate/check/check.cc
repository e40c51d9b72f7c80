#include "migrate/check/check.h"

#include <sys/stat.h>

#include <algorithm>

#include "migrate/fds/deleted_file.h"
#include "migrate/fds/lease.h"
#include "migrate/fds/path_handle.h"
#include "shim/ssi_abi.h"
#include "ssid/base/own_programs.h"

namespace ssi::check {
namespace {

// One row per FdKind, in its order.
struct KindRow {
  FdKind kind;
  const char* words;
  bool moves;
};

constexpr KindRow kKinds[] = {
    {FdKind::kRegular, "a file", true},
    {FdKind::kDirectory, "a directory", true},
    {FdKind::kDeletedFile, "a file that was deleted", true},
    {FdKind::kKernelFile, "a file of this machine's kernel", true},
    {FdKind::kNamespace, "a handle on a namespace", true},
    {FdKind::kPipe, "a pipe", true},
    {FdKind::kFifo, "a named pipe", true},
    {FdKind::kNullLike, "a device without state", true},
    {FdKind::kTty, "a terminal", true},
    {FdKind::kClosedTty, "a terminal that was closed", true},
    {FdKind::kControllingTty, "its terminal by the name of /dev/tty", true},
    {FdKind::kPtyMaster, "the inner side of a terminal (a pty master)", true},
    {FdKind::kDevice, "a device", false},
    {FdKind::kUnixSocket, "a unix socket", true},
    {FdKind::kInetSocket, "a network socket", true},
    {FdKind::kNetlinkSocket, "a socket to this machine's kernel", true},
    {FdKind::kOtherSocket, "a socket of a kind that can't be moved", false},
    {FdKind::kEventfd, "an eventfd", true},
    {FdKind::kSignalfd, "a signalfd", true},
    {FdKind::kTimerfd, "a timerfd", true},
    {FdKind::kEpoll, "an epoll", true},
    {FdKind::kInotify, "an inotify instance", true},
    {FdKind::kFanotify, "a fanotify watch, which would not be told of changes at home", false},
    {FdKind::kMemfd, "a memory file", true},
    {FdKind::kPidfd, "a handle on a process (pidfd)", true},
    {FdKind::kUserfaultfd, "a userfaultfd", false},
    {FdKind::kBpf, "a BPF object", false},
    {FdKind::kPerf, "a performance counter", false},
    {FdKind::kIoUring, "an io_uring", false},
    {FdKind::kFuse, "a FUSE connection", false},
    {FdKind::kPathOnly, "a path handle (O_PATH)", true},
    {FdKind::kOther, "of a kind that can't be moved", false},
};
static_assert(std::size(kKinds) == kFdKinds);

// An execve needs that much; below it the kernel may find out too late and kill the process.
constexpr std::uint64_t kStackKbMin = 256;
constexpr std::uint64_t kAddressSpaceKbMin = 1024;

std::string text(const ProcessName& name) {
  return std::to_string(name.pid) + " (" + name.comm + ")";
}

std::string list(const std::vector<ProcessName>& names) {
  constexpr std::size_t kShown = 3;
  std::string all;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    all += (i > 0 ? ", " : "") + text(names[i]);
  }
  if (names.size() > kShown) all += " and " + std::to_string(names.size() - kShown) + " more";
  return all;
}

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

std::string count(std::size_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

class Reasons {
 public:
  void add(bool so, std::string reason) {
    if (so) reasons_.push_back(std::move(reason));
  }
  void add_passing(std::string reason) {
    reasons_.push_back(std::move(reason));
    ++passing_;
  }
  std::optional<Refusal> take() {
    if (reasons_.empty()) return {};
    const bool all_pass = passing_ == reasons_.size();
    return Refusal{std::move(reasons_), all_pass};
  }

 private:
  std::vector<std::string> reasons_;
  std::size_t passing_ = 0;
};

void check_kind_of_process(const ProcessFacts& facts, const CheckContext& context,
                           Reasons& reasons) {
  reasons.add(facts.name.pid == 1, "it is the first process (init) of this machine");
  reasons.add(facts.elf_bits != 64, "it is a " + std::to_string(facts.elf_bits) +
                                        "-bit program; only 64-bit ones can be moved");
  reasons.add(facts.tracer.pid != 0, "it is traced by a debugger, process " + text(facts.tracer));
  if (facts.vfork_child) {
    reasons.add_passing("it waits for its child " + list(facts.children) +
                        ", which still runs in its memory (vfork)");
  } else {
    reasons.add(!facts.children.empty(),
                "it has " + count(facts.children.size(), "child process", "child processes") +
                    ", which only `migrate --tree` moves along: " + list(facts.children));
  }
  reasons.add(facts.pending_sigtrap, "a SIGTRAP is pending for it, which would be lost");
  reasons.add(!facts.children_namespaces.empty(),
              "its children are to live in other namespaces than it does (" +
                  join(facts.children_namespaces) + ")");
  if (!context.is_guest) {
    reasons.add(!facts.other_namespaces.empty(),
                "it runs in a container: its namespaces differ from ssid's (" +
                    join(facts.other_namespaces) + ")");
  }
  reasons.add(facts.root_deleted, "its root directory (chroot) was deleted");
}

void check_memory(const ProcessFacts& facts, Reasons& reasons) {
  const pid_t ended = fds::ended_process(facts.cwd);
  reasons.add(
      facts.cwd_of_kernel && facts.cwd_deleted && (ended == 0 || facts.cwd_pid_used_again),
      "its working directory " + facts.cwd + " was one of this machine's kernel and is gone");
  for (const auto& memory : facts.shared_memory) {
    reasons.add(!memory.sharers.empty(),
                "it shares memory with process " + list(memory.sharers) + ": " + memory.what);
  }
  reasons.add(facts.stack_limit_kb < kStackKbMin, "its stack limit (" +
                                                      std::to_string(facts.stack_limit_kb) +
                                                      " kB) is too small to leave a deputy behind");
  reasons.add(facts.address_space_limit_kb < kAddressSpaceKbMin,
              "its memory limit (" + std::to_string(facts.address_space_limit_kb) +
                  " kB) is too small to leave a deputy behind");
  for (const auto& device : facts.device_mappings) {
    reasons.add(true, "it has the device " + device + " mapped into its memory");
  }
  reasons.add(facts.hugetlb_kb > 0, "it uses " + std::to_string(facts.hugetlb_kb) +
                                        " kB of reserved huge pages (hugetlb)");
}

// What home can steer to where the process goes (docs/network.md). One without an address is only
// made anew.
bool is_carried(const FdFact& fd) {
  if (!fd.details.empty()) return fd.socket.has_value();
  const std::string& p = fd.protocol;
  return p.starts_with("TCP") || p.starts_with("UDP") || p == "PING" || p == "PINGv6";
}

std::string why_not_carried(const FdFact& fd) {
  const std::string& p = fd.protocol;
  if (p == "TCPv6" || p == "UDPv6" || p == "UDPLITEv6") {
    return " of an IPv6 address that only this network segment knows";
  }
  // criu makes the socket, and the kernel where it goes would give it another one.
  if (p == "PING" || p == "PINGv6") return " that has a number for its pings, which it can't keep";
  if (p.starts_with("RAW")) return " that gets packets of all of this machine";
  return "";
}

// What criu sends again with a message, so that it is the process's as it was.
bool moves_in_flight(const FdFact& fd) {
  switch (fd.kind) {
    case FdKind::kRegular:
    case FdKind::kDirectory:
    case FdKind::kNullLike:
    case FdKind::kEventfd:
    case FdKind::kEpoll:
    case FdKind::kUnixSocket:
      return !fd.locks.any();
    case FdKind::kPipe:
      return fd.other_end_inside;
    default:
      return false;
  }
}

std::string connected_with(const FdFact& fd) {
  const std::string whom =
      fd.peer_holders.empty() ? "what can't be seen from here" : "process " + list(fd.peer_holders);
  return "connected with " + whom + (fd.why_not_relayed.empty() ? "" : ", " + fd.why_not_relayed);
}

std::string numbered(const FdFact& fd, const std::string& what) {
  return "fd " + std::to_string(fd.number) + " is " + what + " (" + fd.target + ")";
}

// What home's carrier has sent on comes from a socket of the carrier.
bool forgets_sender(const FdFact& fd, const CheckContext& context) {
  return fd.named_sender && !(context.is_guest && !fd.named_at.empty());
}

bool is_pin(const FdFact& fd) {
  return fd.kind == FdKind::kMemfd && fd.target == "/memfd:" + std::string(kPinName) + " (deleted)";
}

void check_fds(const ProcessFacts& facts, const CheckContext& context, Reasons& reasons) {
  for (const auto& fd : facts.fds) {
    if (!context.fds.has(fd.kind) || (fd.in_flight && !moves_in_flight(fd))) {
      reasons.add(true, describe(fd));
    } else if (!fd.peers.empty() && !fd.relayed()) {
      reasons.add(true, describe(fd) + " " + connected_with(fd));
    } else if (fd.kind == FdKind::kKernelFile && !fd.proc_file.moves_by_name()) {
      reasons.add(true, describe(fd));
    } else if (is_pin(fd)) {
      reasons.add_passing("it has pinned itself where it is for now (ssi_pin)");
    } else if (!fd.why_not.empty()) {
      reasons.add(true, describe(fd) + " " + fd.why_not);
    } else if (forgets_sender(fd, context)) {
      reasons.add_passing(describe(fd) +
                          " with an unread datagram whose sender's name would be forgotten");
    } else if (fd.kind == FdKind::kControllingTty && fd.same_as.empty() && !fd.pty_inside) {
      reasons.add(true, describe(fd) + " and by no other name");
    } else if (const auto lock = fds::lock_that_stays(fd.locks, context.is_guest); !lock.empty()) {
      reasons.add(true, describe(fd) + " with " + lock);
    } else if (const auto lease = fds::lease_that_stays(fd.locks, fd.flags); !lease.empty()) {
      reasons.add(true, describe(fd) + " with " + lease);
    } else if (fd.kind == FdKind::kPathOnly) {
      const std::string why = fds::why_path_handle_stays({fd.mode & S_IFMT, fd.of_kernel});
      reasons.add(!why.empty(), numbered(fd, why));
    } else if (fd.kind == FdKind::kFifo) {
      const std::string why = fds::why_fifo_stays(fifo_of(fd), list(fd.holders));
      reasons.add(!why.empty(), numbered(fd, why));
    } else if (fd.kind == FdKind::kDeletedFile) {
      const std::string why = fds::why_deleted_stays(fd.target);
      reasons.add(!why.empty(), numbered(fd, why));
    } else if (fd.kind == FdKind::kInetSocket && !is_carried(fd)) {
      reasons.add(true, describe(fd) + why_not_carried(fd));
    } else if (fd.kind == FdKind::kMemfd || fd.kind == FdKind::kInetSocket ||
               fd.kind == FdKind::kUnixSocket || fd.kind == FdKind::kNetlinkSocket) {
      reasons.add(!fd.holders.empty(),
                  describe(fd) + " that process " + list(fd.holders) + " has open, too");
    } else if (fd.kind == FdKind::kPtyMaster) {
      reasons.add(!fd.holders.empty(),
                  describe(fd) + " that process " + list(fd.holders) + " uses, too");
    }
  }
}

}  // namespace

const char* words(FdKind kind) { return kKinds[static_cast<std::size_t>(kind)].words; }

SupportedFds SupportedFds::of_this_version() {
  SupportedFds supported;
  for (const KindRow& row : kKinds) supported.kinds[static_cast<std::size_t>(row.kind)] = row.moves;
  return supported;
}

std::string describe(const FdFact& fd) {
  std::string what = words(fd.kind);
  std::string details = fd.details.empty() ? fd.target : fd.details;
  if (fd.details.empty() && !fd.protocol.empty()) details = fd.protocol;
  if (fd.kind == FdKind::kInetSocket) {
    if (fd.listening) what = "a listening network socket";
    if (fd.details.find(" -> ") != std::string::npos) what = "an open network connection";
  }
  if (details.starts_with("anon_inode:") && fd.kind != FdKind::kOther) details.clear();
  return "fd " + std::to_string(fd.number) + (fd.in_flight ? " has in its queue " : " is ") + what +
         (details.empty() ? "" : " (" + details + ")");
}

std::optional<Refusal> check(const ProcessFacts& facts, const CheckContext& context) {
  // What makes everything else meaningless stands alone.
  if (facts.kernel_thread) return Refusal{{"it is a thread of the kernel"}};
  if (is_own_program(facts.exe)) return Refusal{{"it is a part of ssid itself"}};
  if (facts.state == 'Z' || facts.state == 'X') {
    return Refusal{{facts.threads > 1 ? "its main thread has ended and only others still run"
                                      : "it has ended already and waits for its parent (zombie)"}};
  }
  Reasons reasons;
  check_kind_of_process(facts, context, reasons);
  check_memory(facts, reasons);
  check_fds(facts, context, reasons);
  return reasons.take();
}

}  // namespace ssi::check
