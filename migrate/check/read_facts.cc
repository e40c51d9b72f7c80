#include "migrate/check/read_facts.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "migrate/check/fd_facts.h"
#include "migrate/check/proc_dir.h"
#include "migrate/check/pty_facts.h"
#include "ssid/base/own_programs.h"
#include "ssid/base/proc_status.h"

namespace ssi::check {
namespace {

// Each is held against those of all the others.
constexpr std::size_t kTreeDescriptorsMax = 32768;
constexpr unsigned long kExitingFlag = 0x00000004;       // PF_EXITING
constexpr unsigned long kKernelThreadFlag = 0x00200000;  // PF_KTHREAD
constexpr std::string_view kDeleted = " (deleted)";

std::uint64_t number(const std::string& text, int base = 10) {
  return std::strtoull(text.c_str(), nullptr, base);
}

bool strip_deleted(std::string& path) {
  if (!path.ends_with(kDeleted)) return false;
  path.resize(path.size() - kDeleted.size());
  return true;
}

ProcessName name_of(const ProcDir& proc) {
  ProcessName name{.pid = proc.pid(), .comm = "?"};
  if (auto comm = proc.read("comm")) name.comm = comm->substr(0, comm->find('\n'));
  return name;
}

ProcessName name_of(pid_t pid) {
  const auto proc = ProcDir::open(pid);
  return proc ? name_of(*proc) : ProcessName{.pid = pid, .comm = "?"};
}

// "PID (COMM) STATE PPID ...", where COMM may hold anything.
Result<> read_stat(const ProcDir& proc, ProcessFacts& facts, bool* exiting = nullptr) {
  SSI_ASSIGN(const std::string stat, proc.read("stat"));
  const std::size_t open = stat.find('('), close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return Error("stat: unreadable");
  facts.name = {.pid = proc.pid(), .comm = stat.substr(open + 1, close - open - 1)};
  facts.own_pid = innermost_pid(proc.pid());
  std::istringstream rest(stat.substr(close + 1));
  std::vector<std::string> fields;
  for (std::string f; rest >> f;) fields.push_back(std::move(f));
  if (fields.size() < 20) return Error("stat: too short");
  const auto at = [&](std::size_t index) { return fields[index - 3]; };  // as numbered in proc(5)
  facts.state = at(3)[0];
  facts.parent = static_cast<pid_t>(number(at(4)));
  facts.session = static_cast<pid_t>(number(at(6)));
  facts.kernel_thread = (number(at(9)) & kKernelThreadFlag) != 0;
  if (exiting != nullptr) *exiting = (number(at(9)) & kExitingFlag) != 0;
  facts.threads = static_cast<int>(number(at(20)));
  facts.start_time_ticks = number(at(22));
  return {};
}

bool has_sigtrap(const std::string& status, const char* name) {
  return (number(field(status, name), 16) & (1U << (SIGTRAP - 1))) != 0;
}

Result<> read_status(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const std::string status, proc.read("status"));
  const std::string uids = field(status, "Uid");
  char* rest = nullptr;
  facts.uid = static_cast<uid_t>(std::strtoul(uids.c_str(), &rest, 10));
  facts.effective_uid = static_cast<uid_t>(std::strtoul(rest, nullptr, 10));
  facts.capabilities = number(field(status, "CapEff"), 16);
  facts.rss_kb = number(field(status, "VmRSS"));
  facts.locked_kb = number(field(status, "VmLck"));
  facts.hugetlb_kb = number(field(status, "HugetlbPages"));
  facts.no_new_privs = number(field(status, "NoNewPrivs")) != 0;
  facts.pending_sigtrap = has_sigtrap(status, "SigPnd") || has_sigtrap(status, "ShdPnd");
  const auto tracer = static_cast<pid_t>(number(field(status, "TracerPid")));
  if (tracer != 0) facts.tracer = name_of(tracer);
  return {};
}

// "Max stack size   8388608   unlimited   bytes": the soft limit in kB.
std::uint64_t soft_limit_kb(const std::string& limits, const std::string& name) {
  const std::size_t at = limits.find(name);
  if (at == std::string::npos) return kNoLimit;
  std::istringstream rest(limits.substr(at + name.size()));
  std::uint64_t bytes = 0;
  return rest >> bytes ? bytes / 1024 : kNoLimit;
}

Result<> read_limits(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const std::string limits, proc.read("limits"));
  facts.stack_limit_kb = soft_limit_kb(limits, "Max stack size");
  facts.address_space_limit_kb = soft_limit_kb(limits, "Max address space");
  return {};
}

Result<> read_program(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(facts.exe, proc.link("exe"));
  facts.exe_deleted = strip_deleted(facts.exe);
  SSI_ASSIGN(const UniqueFd exe, proc.open_file("exe", O_RDONLY));
  unsigned char ident[EI_NIDENT] = {};
  if (::pread(*exe, ident, sizeof ident, 0) == sizeof ident) {
    facts.elf_bits = ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
  }
  SSI_ASSIGN(facts.cmdline, proc.read("cmdline"));
  while (facts.cmdline.ends_with('\0')) facts.cmdline.pop_back();
  std::ranges::replace(facts.cmdline, '\0', ' ');
  SSI_ASSIGN(facts.cwd, proc.link("cwd"));
  facts.cwd_deleted = strip_deleted(facts.cwd);
  if (const auto cwd = proc.status("cwd")) {
    facts.cwd_of_kernel = FileSystems().is_kernels(cwd->st_dev, proc.path("cwd"));
  }
  facts.cwd_pid_used_again = fds::ended_process(facts.cwd) == facts.own_pid;
  return {};
}

Result<> read_family(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const std::vector<std::string> tids, proc.list("task"));
  for (const auto& tid : tids) {
    auto status = proc.read("task/" + tid + "/status");
    if (!status) continue;  // that thread has ended
    facts.pending_sigtrap |= has_sigtrap(*status, "SigPnd");
    for (const pid_t child : children_of(proc, tid)) {
      facts.children.push_back(name_of(child));
      facts.vfork_child |= ::syscall(SYS_kcmp, proc.pid(), child, KCMP_VM, 0, 0) == 0;
    }
  }
  return {};
}

Result<> read_surroundings(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const ProcDir self, ProcDir::open(::getpid()));
  for (const char* kind : {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"}) {
    const std::string file = std::string("ns/") + kind;
    const auto ours = self.link(file);
    if (!ours) continue;  // a kernel without it
    SSI_ASSIGN(const std::string theirs, proc.link(file));
    if (theirs != *ours) facts.other_namespaces.emplace_back(kind);
    const std::string for_children = file + "_for_children";
    if (!self.link(for_children)) continue;          // there is none of this kind
    const auto childrens = proc.link(for_children);  // none either, before the first of them
    if (!childrens || *childrens != theirs) facts.children_namespaces.emplace_back(kind);
  }
  SSI_ASSIGN(const struct stat root, proc.status("root"));
  facts.root_deleted = root.st_nlink == 0;
  return {};
}

struct MemoryKey {
  unsigned major, minor;
  std::uint64_t inode;
  auto operator<=>(const MemoryKey&) const = default;
};
MemoryKey key_of(const Mapping& m) { return {m.device_major, m.device_minor, m.inode}; }

std::string words_for(const std::string& name) {
  if (name.starts_with("/dev/zero")) return "anonymous shared memory";
  if (name.starts_with("/SYSV")) return "System V shared memory";
  std::string path = name;
  strip_deleted(path);
  return path.starts_with("/memfd:") ? "memory file " + path.substr(7) : path;
}

bool is_device(const std::string& name) {
  if (name.starts_with("anon_inode:") || name.starts_with("/dmabuf:")) return true;
  return name.starts_with("/dev/") && !name.starts_with("/dev/zero") &&
         !name.starts_with("/dev/shm/") && !name.starts_with("/dev/null") &&
         !name.starts_with("/dev/hugepages");
}

using SharedMap = std::map<MemoryKey, SharedMemory>;

Result<SharedMap> read_memory(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const std::string text, proc.read("maps"));
  SharedMap shared;
  std::set<std::string> devices;
  std::map<MemoryKey, DeletedMapping> deleted;
  for (const Mapping& m : parse_maps(text)) {
    facts.has_system_v_memory |= m.name.starts_with("/SYSV");
    if (is_device(m.name)) {
      devices.insert(m.name);
    } else if (m.shared() && (m.writable() || is_memory_object(m.name))) {
      SharedMemory& memory = shared[key_of(m)];
      memory.what = words_for(m.name);
      memory.inode = m.inode;
      memory.writable |= m.writable();
    }
    std::string path = m.name;
    // The kernel's ring of asynchronous I/O is called so, too; criu knows it.
    const bool ring = path.starts_with("/[aio]");
    if (!ring && !is_memory_object(path) && path.starts_with("/") && strip_deleted(path) &&
        path != facts.exe) {
      deleted.try_emplace(key_of(m), DeletedMapping{path, m.range});
    }
  }
  facts.device_mappings.assign(devices.begin(), devices.end());
  for (auto& [key, mapping] : deleted) facts.deleted_mappings.push_back(std::move(mapping));
  return shared;
}

bool may_have_holders(const FdFact& fd) {
  return is_pipe(fd) || fd.kind == FdKind::kMemfd || fd.kind == FdKind::kInetSocket ||
         fd.kind == FdKind::kUnixSocket || fd.kind == FdKind::kNetlinkSocket ||
         fd.kind == FdKind::kPtyMaster;
}

bool is_memory_file(const FdFact& fd) { return fd.kind == FdKind::kMemfd; }

// What a process has open that others may have open, too; is it open for reading?
using OpenObjects = std::map<std::pair<std::uint64_t, std::uint64_t>, bool>;

OpenObjects read_open_objects(const ProcDir& other, const std::set<std::string>& fifos) {
  OpenObjects open;
  auto numbers = other.list("fd");
  if (!numbers) return open;
  for (const auto& n : *numbers) {
    const auto target = other.link("fd/" + n);
    if (!target || !(target->starts_with("pipe:") || target->starts_with("socket:") ||
                     is_nameless_memory(*target) || fifos.contains(*target))) {
      continue;
    }
    const auto st = other.status("fd/" + n);
    if (!st) continue;
    const auto info = other.read("fdinfo/" + n);
    const std::uint64_t flags = info ? number(field(*info, "flags"), 8) : 0;
    if ((flags & O_PATH) != 0) continue;  // a name, not an end
    open[{st->st_dev, st->st_ino}] |= info && (flags & O_ACCMODE) != O_WRONLY;
  }
  return open;
}

// ssid looks at sockets through duplicates, and the carrier has one of what it is to relay.
void find_holder_of_socket(bool is_ssids, const OpenObjects& open, const ProcessName& name,
                           FdFact& fd) {
  if (name.pid == ::getpid()) return;
  if (!is_ssids && open.contains({fd.device, fd.inode})) fd.holders.push_back(name);
  if (std::ranges::any_of(fd.peers, [&](auto peer) { return open.contains({fd.device, peer}); })) {
    fd.peer_holders.push_back(name);
  }
}

void find_holders(bool is_ssids, bool is_deputy, const OpenObjects& open, const ProcessName& name,
                  std::vector<FdFact>& fds) {
  for (auto& fd : fds) {
    if (!may_have_holders(fd) || fd.kind == FdKind::kPtyMaster) continue;
    if (fd.kind == FdKind::kUnixSocket) {
      find_holder_of_socket(is_ssids, open, name, fd);
      continue;
    }
    if (is_deputy && fd.kind == FdKind::kFifo) continue;  // it only keeps it (kept_descriptors.h)
    const auto held = open.find({fd.device, fd.inode});
    if (held == open.end()) continue;
    fd.holders.push_back(name);
    if (is_pipe(fd) && held->second && name.pid != ::getpid()) fd.readers.push_back(name);
  }
}

std::set<MemoryKey> read_shared_objects(const ProcDir& other) {
  std::set<MemoryKey> seen;
  const auto text = other.read("maps");
  if (!text) return seen;
  for (const Mapping& m : parse_maps(*text)) {
    if (m.shared()) seen.insert(key_of(m));
  }
  return seen;
}

// A process whose facts are wanted.
struct Subject {
  ProcessFacts facts;
  SharedMap shared;
  bool has_ended() const { return facts.state == 'Z' || facts.state == 'X'; }
};

std::set<std::string> fifos_of(const std::vector<Subject>& subjects) {
  std::set<std::string> targets;
  for (const Subject& s : subjects) {
    for (const FdFact& fd : s.facts.fds) {
      if (fd.kind == FdKind::kFifo) targets.insert(fd.target);
    }
  }
  return targets;
}

// In flight, it is nobody's number.
bool may_be_shared(const FdFact& fd) { return fd.locks.any() && !fd.in_flight; }

// Of one file.
bool is_same_open_file(pid_t pid, const FdFact& fd, pid_t other_pid, const FdFact& other) {
  return (may_be_shared(fd) || may_be_shared(other)) &&
         ::syscall(SYS_kcmp, other_pid, pid, KCMP_FILE, other.number, fd.number) == 0;
}

void name_open_files(std::vector<Subject>& subjects) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::pair<pid_t, const FdFact*>>>
      of_file;
  for (Subject& s : subjects) {
    const pid_t pid = s.facts.name.pid;
    for (FdFact& fd : s.facts.fds) {
      auto& before = of_file[{fd.device, fd.inode}];
      const auto same = std::ranges::find_if(before, [&](const auto& other) {
        return is_same_open_file(pid, fd, other.first, *other.second);
      });
      fd.open_file = same != before.end() ? same->second->open_file : OpenFileName{pid, fd.number};
      before.emplace_back(pid, &fd);
    }
  }
}

// `mapped`: by another process. It may have memory mapped that we only have open, or the reverse.
void find_mappers(const std::set<MemoryKey>& mapped, const ProcessName& name,
                  std::vector<FdFact>& fds) {
  for (FdFact& fd : fds) {
    if (!is_memory_file(fd) || !mapped.contains({major(fd.device), minor(fd.device), fd.inode}) ||
        std::ranges::find(fd.holders, name) != fd.holders.end()) {
      continue;
    }
    fd.holders.push_back(name);
  }
}

void find_sharers(const std::set<MemoryKey>& mapped, const OpenObjects& open,
                  const ProcessName& name, SharedMap& shared) {
  for (auto& [key, memory] : shared) {
    const dev_t device = makedev(key.major, key.minor);
    if (mapped.contains(key) || open.contains({device, key.inode})) memory.sharers.push_back(name);
  }
}

void forget_holders(Subject& subject) {
  for (FdFact& fd : subject.facts.fds) {
    fd.holders.clear();
    fd.readers.clear();
    fd.peer_holders.clear();
  }
}

enum class Look { kAtAll, kAtDescriptors };

// One walk through all processes, and only if there is something to look for.
void find_others(std::vector<Subject>& subjects, Look look) {
  const bool fds = std::ranges::any_of(subjects, [](const Subject& s) {
    return std::ranges::any_of(s.facts.fds, may_have_holders);
  });
  const bool memory = std::ranges::any_of(subjects, [&](const Subject& s) {
    return (look == Look::kAtAll && !s.shared.empty()) ||
           std::ranges::any_of(s.facts.fds, is_memory_file);
  });
  const bool masters =
      std::ranges::any_of(subjects, [](const Subject& s) { return has_masters(s.facts.fds); });
  if (!fds && !memory) return;
  for (Subject& s : subjects) forget_holders(s);
  const std::set<std::string> fifos = fifos_of(subjects);
  for (pid_t pid : all_processes()) {
    if (subjects.size() == 1 && pid == subjects[0].facts.name.pid) continue;
    const auto other = ProcDir::open(pid);
    if (!other) continue;
    const ProcessName name = name_of(*other);
    const auto exe = other->link("exe");
    const bool is_ssids = exe && is_own_program(*exe);
    const bool is_deputy = exe && is_deputy_program(*exe);
    const OpenObjects open = read_open_objects(*other, fifos);
    const auto mapped = memory ? read_shared_objects(*other) : std::set<MemoryKey>();
    const auto ptys = masters && pid != ::getpid() ? std::optional(read_pty_use(*other))
                                                   : std::optional<PtyUse>();
    for (Subject& s : subjects) {
      if (s.facts.name.pid == pid) continue;
      find_holders(is_ssids, is_deputy, open, name, s.facts.fds);
      if (ptys) find_users_of_ptys(*ptys, name, s.facts.fds);
      find_mappers(mapped, name, s.facts.fds);
      // What a mover of ours has open it only reads.
      if (look == Look::kAtAll && !is_ssids) find_sharers(mapped, open, name, s.shared);
    }
  }
}

// All that needs to look at the process alone.
Result<Subject> read(const ProcDir& proc) {
  Subject subject;
  ProcessFacts& facts = subject.facts;
  SSI_TRY(read_stat(proc, facts));
  if (facts.kernel_thread || subject.has_ended()) return subject;
  SSI_TRY(read_status(proc, facts));
  SSI_TRY(read_limits(proc, facts));
  SSI_TRY(read_program(proc, facts));
  SSI_TRY(read_family(proc, facts));
  SSI_TRY(read_surroundings(proc, facts));
  SSI_ASSIGN(facts.fds, read_all_fds(proc));
  SSI_ASSIGN(subject.shared, read_memory(proc, facts));
  return subject;
}

Result<Subject> read_subject(pid_t pid) {
  SSI_ASSIGN(const ProcDir proc, ProcDir::open(pid));
  auto subject = read(proc);
  if (subject) return subject;
  // It may have ended while we looked: then most files fail in ways of their own.
  Subject now;
  bool exiting = false;
  const bool there = read_stat(proc, now.facts, &exiting).ok();
  if (there && now.has_ended()) return now;
  if (!there || exiting) {
    return Error(ErrorCode::kGone, "process " + std::to_string(pid) + ": No such process");
  }
  return subject;
}

// A socket that was made or sent on while we looked seems to be connected with nobody.
bool seems_in_motion(const FdFact& fd) { return !fd.peers.empty() && fd.peer_holders.empty(); }

std::set<fds::SocketInode> peers_of_nobody(const std::vector<Subject>& subjects) {
  std::set<fds::SocketInode> peers;
  for (const Subject& s : subjects) {
    for (const FdFact& fd : s.facts.fds) {
      if (seems_in_motion(fd)) peers.insert(fd.peers.begin(), fd.peers.end());
    }
  }
  return peers;
}

Result<> look_again_at_fds(std::vector<Subject>& subjects) {
  for (Subject& s : subjects) {
    if (std::ranges::none_of(s.facts.fds, seems_in_motion)) continue;
    SSI_ASSIGN(const ProcDir proc, ProcDir::open(s.facts.name.pid));
    SSI_ASSIGN(s.facts.fds, read_all_fds(proc));
  }
  return {};
}

// Fills in who has the same things.
Result<> relate(std::vector<Subject>& subjects) {
  constexpr int kLooksMax = 20;
  find_others(subjects, Look::kAtAll);
  std::set<fds::SocketInode> before, now = peers_of_nobody(subjects);
  for (int i = 0; i < kLooksMax && !now.empty() && now != before; ++i) {
    SSI_TRY(look_again_at_fds(subjects));
    find_others(subjects, Look::kAtDescriptors);
    before = std::exchange(now, peers_of_nobody(subjects));
  }
  name_open_files(subjects);
  return {};
}

ProcessFacts take_facts(Subject& subject) {
  for (auto& [key, memory] : subject.shared) {
    subject.facts.shared_memory.push_back(std::move(memory));
  }
  return std::move(subject.facts);
}

}  // namespace

Result<ProcessFacts> read_facts(pid_t pid) {
  std::vector<Subject> subjects;
  SSI_ASSIGN(auto subject, read_subject(pid));
  subjects.push_back(std::move(subject));
  SSI_TRY(relate(subjects));
  return take_facts(subjects[0]);
}

Result<std::vector<ProcessFacts>> read_tree_facts(pid_t root, std::size_t most) {
  std::vector<Subject> subjects;
  std::size_t descriptors = 0;
  SSI_ASSIGN(auto first, read_subject(root));
  subjects.push_back(std::move(first));
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const auto children = std::exchange(subjects[i].facts.children, {});
    for (const ProcessName& child : children) {
      auto subject = read_subject(child.pid);
      if (!subject && subject.error().code() == ErrorCode::kGone) continue;
      if (!subject) {
        return std::move(subject).error().context("process " + std::to_string(child.pid));
      }
      // Whose PID has been given to another process meanwhile is none of these.
      if (subject->has_ended() || subject->facts.parent != subjects[i].facts.name.pid) continue;
      subjects[i].facts.children.push_back(child);
      if (subjects.size() == most) {
        return Error(ErrorCode::kRefused,
                     "its tree has more than " + std::to_string(most) + " processes");
      }
      descriptors += subject->facts.fds.size();
      if (descriptors > kTreeDescriptorsMax) {
        return Error(
            ErrorCode::kRefused,
            "its tree has more than " + std::to_string(kTreeDescriptorsMax) + " descriptors open");
      }
      subjects.push_back(std::move(*subject));
    }
  }
  SSI_TRY(relate(subjects));
  std::vector<ProcessFacts> tree;
  for (Subject& s : subjects) tree.push_back(take_facts(s));
  return tree;
}

}  // namespace ssi::check
