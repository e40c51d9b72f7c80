#include "migrate/check/read_facts.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "migrate/check/fd_facts.h"
#include "migrate/check/proc_dir.h"

namespace ssi::check {
namespace {

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

ProcessName name_of(pid_t pid) {
  ProcessName name{.pid = pid, .comm = "?"};
  if (auto proc = ProcDir::open(pid)) {
    if (auto comm = proc->read("comm")) name.comm = comm->substr(0, comm->find('\n'));
  }
  return name;
}

// "PID (COMM) STATE PPID ...", where COMM may hold anything.
Result<> read_stat(const ProcDir& proc, ProcessFacts& facts, bool* exiting = nullptr) {
  SSI_ASSIGN(const std::string stat, proc.read("stat"));
  const std::size_t open = stat.find('('), close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return Error("stat: unreadable");
  facts.name = {.pid = proc.pid(), .comm = stat.substr(open + 1, close - open - 1)};
  std::istringstream rest(stat.substr(close + 1));
  std::vector<std::string> fields;
  for (std::string f; rest >> f;) fields.push_back(std::move(f));
  if (fields.size() < 20) return Error("stat: too short");
  const auto at = [&](std::size_t index) { return fields[index - 3]; };  // as numbered in proc(5)
  facts.state = at(3)[0];
  facts.parent = static_cast<pid_t>(number(at(4)));
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
  facts.seccomp_mode = static_cast<int>(number(field(status, "Seccomp")));
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
  return {};
}

Result<> read_family(const ProcDir& proc, ProcessFacts& facts) {
  SSI_ASSIGN(const std::vector<std::string> tids, proc.list("task"));
  for (const auto& tid : tids) {
    auto text = proc.read("task/" + tid + "/children");
    auto status = proc.read("task/" + tid + "/status");
    if (!text || !status) continue;  // that thread has ended
    facts.pending_sigtrap |= has_sigtrap(*status, "SigPnd");
    std::istringstream pids(*text);
    for (pid_t child; pids >> child;) {
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
  SSI_ASSIGN(const struct stat their_root, proc.status("root"));
  SSI_ASSIGN(const struct stat our_root, self.status("root"));
  facts.other_root = their_root.st_dev != our_root.st_dev || their_root.st_ino != our_root.st_ino;
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

bool is_memory_object(const std::string& name) {
  return name.starts_with("/dev/zero") || name.starts_with("/SYSV") ||
         name.starts_with("/memfd:") || name.starts_with("/dev/shm/");
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
  std::set<std::string> devices, deleted;
  for (const Mapping& m : parse_maps(text)) {
    if (is_device(m.name)) {
      devices.insert(m.name);
    } else if (m.shared() && (m.writable() || is_memory_object(m.name))) {
      SharedMemory& memory = shared[key_of(m)];
      memory.what = words_for(m.name);
      memory.inode = m.inode;
      memory.writable |= m.writable();
    }
    std::string path = m.name;
    if (!is_memory_object(path) && path.starts_with("/") && strip_deleted(path) &&
        path != facts.exe) {
      deleted.insert(path);
    }
  }
  facts.device_mappings.assign(devices.begin(), devices.end());
  facts.deleted_mappings.assign(deleted.begin(), deleted.end());
  return shared;
}

bool may_have_holders(const FdFact& fd) {
  return fd.kind == FdKind::kPipe || fd.kind == FdKind::kMemfd;
}

void find_holders(const ProcDir& other, const ProcessName& name, std::vector<FdFact>& fds) {
  auto numbers = other.list("fd");
  if (!numbers) return;
  std::map<std::pair<std::uint64_t, std::uint64_t>, bool> open;  // is it open for reading?
  for (const auto& n : *numbers) {
    const auto target = other.link("fd/" + n);
    if (!target || !(target->starts_with("pipe:") || target->starts_with("/memfd:"))) continue;
    const auto st = other.status("fd/" + n);
    if (!st) continue;
    const auto info = other.read("fdinfo/" + n);
    open[{st->st_dev, st->st_ino}] |=
        info && (number(field(*info, "flags"), 8) & O_ACCMODE) != O_WRONLY;
  }
  for (auto& fd : fds) {
    if (!may_have_holders(fd)) continue;
    const auto held = open.find({fd.device, fd.inode});
    if (held == open.end()) continue;
    fd.holders.push_back(name);
    fd.read_by_others |= fd.kind == FdKind::kPipe && held->second && name.pid != ::getpid();
  }
}

void find_sharers(const ProcDir& other, const ProcessName& name, SharedMap& shared) {
  const auto text = other.read("maps");
  if (!text) return;
  std::set<MemoryKey> seen;
  for (const Mapping& m : parse_maps(*text)) {
    if (!m.shared() || !seen.insert(key_of(m)).second) continue;
    if (const auto at = shared.find(key_of(m)); at != shared.end()) {
      at->second.sharers.push_back(name);
    }
  }
}

// One walk through all processes, and only if there is something to look for.
void find_others(ProcessFacts& facts, SharedMap& shared) {
  const bool fds = std::ranges::any_of(facts.fds, may_have_holders);
  if (!fds && shared.empty()) return;
  for (pid_t pid : all_processes()) {
    if (pid == facts.name.pid) continue;
    const auto other = ProcDir::open(pid);
    if (!other) continue;
    const ProcessName name = name_of(pid);
    if (fds) find_holders(*other, name, facts.fds);
    if (!shared.empty()) find_sharers(*other, name, shared);
  }
}

Result<ProcessFacts> read(const ProcDir& proc) {
  ProcessFacts facts;
  SSI_TRY(read_stat(proc, facts));
  if (facts.kernel_thread || facts.state == 'Z' || facts.state == 'X') return facts;
  SSI_TRY(read_status(proc, facts));
  SSI_TRY(read_limits(proc, facts));
  SSI_TRY(read_program(proc, facts));
  SSI_TRY(read_family(proc, facts));
  SSI_TRY(read_surroundings(proc, facts));
  SSI_ASSIGN(facts.fds, read_fds(proc));
  SSI_ASSIGN(SharedMap shared, read_memory(proc, facts));
  find_others(facts, shared);
  for (auto& [key, memory] : shared) facts.shared_memory.push_back(std::move(memory));
  return facts;
}

}  // namespace

Result<ProcessFacts> read_facts(pid_t pid) {
  SSI_ASSIGN(const ProcDir proc, ProcDir::open(pid));
  auto facts = read(proc);
  if (facts) return facts;
  // It may have ended while we looked: then most files fail in ways of their own.
  ProcessFacts now;
  bool exiting = false;
  const bool there = read_stat(proc, now, &exiting).ok();
  if (there && (now.state == 'Z' || now.state == 'X')) return now;
  if (!there || exiting) {
    return Error(ErrorCode::kGone, "process " + std::to_string(pid) + ": No such process");
  }
  return facts;
}

}  // namespace ssi::check
