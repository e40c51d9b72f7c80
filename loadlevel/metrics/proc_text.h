// The text of /proc becomes our types here, and nowhere else. Pure: text in, value out, nullopt for
// anything that does not look as the kernel writes it. No allocation but for names.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ssi::proc {

// /proc/PID/stat. Times in clock ticks, memory in pages.
struct StatLine {
  pid_t pid = 0;
  std::string_view comm;  // points into the text
  char state = '?';
  pid_t ppid = 0;
  pid_t process_group = 0;
  pid_t session = 0;
  std::int32_t tty = 0;  // device number of the controlling terminal, 0: none
  std::uint64_t flags = 0;
  std::uint64_t utime_ticks = 0;
  std::uint64_t stime_ticks = 0;
  std::int32_t threads = 0;
  std::uint64_t start_ticks = 0;
  std::uint64_t vsz_bytes = 0;
  std::uint64_t rss_pages = 0;
  std::uint64_t image_print = 0;  // changes when the process executes another program

  bool kernel_thread() const;
};
std::optional<StatLine> parse_stat(std::string_view text);

// As below /dev: "pts/3", "tty1", "ttyS0"; "MAJOR:MINOR" of other kinds; "" for 0.
std::string tty_name(std::int32_t tty);

// /proc/PID/task/TID/schedstat: time on a CPU, and time runnable but waiting for one.
struct SchedStat {
  std::uint64_t run_ns = 0;
  std::uint64_t wait_ns = 0;
};
std::optional<SchedStat> parse_schedstat(std::string_view text);

// Real uid of /proc/PID/status.
std::optional<std::uint32_t> parse_status_uid(std::string_view text);

struct MemInfo {
  std::uint64_t total_bytes = 0;
  std::uint64_t available_bytes = 0;
};
std::optional<MemInfo> parse_meminfo(std::string_view text);

// Highest "cpu MHz" of /proc/cpuinfo.
std::optional<double> parse_cpuinfo_mhz(std::string_view text);

// A file that holds one number and a newline; "max" gives nullopt.
std::optional<std::uint64_t> parse_number(std::string_view text);

// The number after `name ` in a file of "name number" lines (memory.stat).
std::optional<std::uint64_t> parse_named_number(std::string_view text, std::string_view name);

// cpu.pressure and the like: "some avg10" and "full avg10", in percent.
struct Pressure {
  double some_avg10 = 0;
  double full_avg10 = 0;
};
std::optional<Pressure> parse_pressure(std::string_view text);

// The path after "0::" in /proc/PID/cgroup, nullopt if there is no cgroup v2.
std::optional<std::string_view> parse_cgroup_v2_path(std::string_view text);

// Where cgroup v2 is mounted, and which of its directories is the mount's root
// (/proc/PID/mountinfo).
struct CgroupMount {
  std::string_view root;
  std::string_view mount_point;
};
std::optional<CgroupMount> parse_cgroup_v2_mount(std::string_view mountinfo);

}  // namespace ssi::proc
