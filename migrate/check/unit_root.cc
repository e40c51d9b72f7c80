#include "migrate/check/unit_root.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <tuple>

#include "migrate/check/proc_dir.h"
#include "ssid/base/proc_job.h"
#include "ssid/base/proc_status.h"

namespace ssi::check {
namespace {

using Memory = std::set<std::tuple<unsigned, unsigned, std::uint64_t>>;

// Shared memory that it may write to; files are no reason to stay together.
Memory memory_of(pid_t pid) {
  Memory memory;
  const auto proc = ProcDir::open(pid);
  const auto text = proc ? proc->read("maps") : Result<std::string>(std::string());
  if (!text) return memory;
  for (const Mapping& m : parse_maps(*text)) {
    if (m.shared() && m.writable() && is_memory_object(m.name))
      memory.emplace(m.device_major, m.device_minor, m.inode);
  }
  return memory;
}

bool have_common(const Memory& a, const Memory& b) {
  return std::ranges::any_of(a, [&](const auto& object) { return b.contains(object); });
}

}  // namespace

pid_t unit_root(pid_t pid, const std::function<bool(pid_t parent)>& may_be_anothers) {
  for (Memory own = memory_of(pid); !own.empty();) {
    const auto job = proc_job(pid);
    if (!job || job->parent <= 1) break;
    const bool same_user = proc_status_line(job->parent, "Uid") == proc_status_line(pid, "Uid");
    if (!same_user && !may_be_anothers(job->parent)) break;
    Memory parents = memory_of(job->parent);
    if (!have_common(own, parents)) break;
    pid = job->parent;
    own = std::move(parents);
  }
  return pid;
}

bool shares_memory_below(pid_t pid) {
  const Memory own = memory_of(pid);
  if (own.empty()) return false;
  const auto below = pids_of_tree(pid);
  return std::ranges::any_of(
      below, [&](pid_t other) { return other != pid && have_common(own, memory_of(other)); });
}

}  // namespace ssi::check
