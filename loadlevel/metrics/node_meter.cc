#include "loadlevel/metrics/node_meter.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "loadlevel/metrics/cpu_speed.h"

namespace ssi {
namespace {

// Small files of cgroups; anything missing (no controller) is an empty text.
std::string read_small(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 8192> buffer;
  const ssize_t got = ::read(*fd, buffer.data(), buffer.size());
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

int cpus_of_this_process() {
  // Large machines need a larger set than cpu_set_t.
  for (int cpus_max = 1024; cpus_max <= 65536; cpus_max *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cpus_max));
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus_max));
    CPU_ZERO_S(size, set);
    const int rc = ::sched_getaffinity(0, size, set);
    const int count = rc == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return 1;
}

}  // namespace

Result<NodeMeter> NodeMeter::open(NodeMeterOptions options, const Clock& clock) {
  SSI_ASSIGN(auto files, ProcFiles::open(options.proc_root));
  if (!proc::parse_meminfo(files.read("meminfo"))) {
    return Error("read " + options.proc_root + "/meminfo: no MemTotal and MemAvailable in it");
  }
  return NodeMeter(std::move(options), clock, std::move(files));
}

NodeMeter::NodeMeter(NodeMeterOptions options, const Clock& clock, ProcFiles files)
    : options_(std::move(options)), clock_(&clock), files_(std::move(files)) {
  if (!options_.cpus) options_.cpus = cpus_of_this_process;
  if (options_.speed_mhz) {
    now_.speed_mhz = options_.speed_mhz();
  } else {
    now_.speed_mhz = cpu_speed_mhz(files_.read("cpuinfo"));
  }
  if (options_.cgroup_dir) {
    cgroup_dir_ = cgroup_root_ = *options_.cgroup_dir;
    return;
  }
  const std::string membership(files_.read("self/cgroup"));
  const std::string mounts(files_.read("self/mountinfo"));
  const auto path = proc::parse_cgroup_v2_path(membership);
  const auto mount = proc::parse_cgroup_v2_mount(mounts);
  if (path && mount) {
    std::string_view below = *path;
    if (mount->root != "/" && below.starts_with(mount->root))
      below.remove_prefix(mount->root.size());
    cgroup_root_ = mount->mount_point;
    cgroup_dir_ = cgroup_root_ + (below == "/" ? std::string() : std::string(below));
  }
}

void NodeMeter::limit_memory_to_cgroups() {
  if (cgroup_dir_.empty()) return;
  for (std::string dir = cgroup_dir_;;) {
    if (const auto limit = proc::parse_number(read_small(dir + "/memory.max"))) {
      const auto used = proc::parse_number(read_small(dir + "/memory.current")).value_or(0);
      // Page cache nobody uses would be given back.
      const auto cache =
          proc::parse_named_number(read_small(dir + "/memory.stat"), "inactive_file").value_or(0);
      const auto held = used - std::min(used, cache);
      now_.memory_total_bytes = std::min(now_.memory_total_bytes, *limit);
      now_.memory_available_bytes =
          std::min(now_.memory_available_bytes, *limit - std::min(*limit, held));
    }
    if (dir.size() <= cgroup_root_.size()) break;
    const auto slash = dir.rfind('/');
    if (slash == std::string::npos || slash < cgroup_root_.size()) {
      dir = cgroup_root_;
    } else {
      dir.resize(slash);
    }
  }
}

const NodeResources& NodeMeter::read() {
  now_.cpus = std::max(1, options_.cpus());
  const auto available_before = static_cast<double>(now_.memory_available_bytes);
  if (const auto memory = proc::parse_meminfo(files_.read("meminfo"))) {
    now_.memory_total_bytes = memory->total_bytes;
    now_.memory_available_bytes = memory->available_bytes;
    limit_memory_to_cgroups();
  }
  const std::int64_t now_us = clock_->now_us();
  const double dt_s = static_cast<double>(now_us - last_us_) / 1e6;
  if (!first_ && dt_s > 0) {
    const double rate =
        (static_cast<double>(now_.memory_available_bytes) - available_before) / dt_s;
    now_.memory_trend_bytes_s +=
        (rate - now_.memory_trend_bytes_s) * (1 - std::exp(-dt_s / options_.smoothing_s));
  }
  first_ = false;
  last_us_ = now_us;
  if (!cgroup_dir_.empty()) {
    now_.cpu_pressure = proc::parse_pressure(read_small(cgroup_dir_ + "/cpu.pressure"));
    now_.memory_pressure = proc::parse_pressure(read_small(cgroup_dir_ + "/memory.pressure"));
  }
  return now_;
}

}  // namespace ssi
