#include "loadlevel/metrics/proc_text.h"

#include <array>
#include <charconv>
#include <limits>

namespace ssi::proc {
namespace {

// Cuts the first word off `text`; empty when there is none left.
std::string_view next_word(std::string_view& text) {
  const auto begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) {
    text = {};
    return {};
  }
  auto end = text.find_first_of(" \t\n", begin);
  if (end == std::string_view::npos) end = text.size();
  const auto word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

template <typename T>
bool to_number(std::string_view word, T& out) {
  const auto [end, err] = std::from_chars(word.data(), word.data() + word.size(), out);
  return err == std::errc{} && end == word.data() + word.size() && !word.empty();
}

constexpr std::uint64_t kFlagKernelThread = 0x00200000;  // PF_KTHREAD of linux/sched.h

void mix(std::uint64_t& hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x100000001b3ULL;
  hash ^= hash >> 29;
}

}  // namespace

bool StatLine::kernel_thread() const { return (flags & kFlagKernelThread) != 0; }

std::optional<StatLine> parse_stat(std::string_view text) {
  const auto open = text.find('(');
  const auto close = text.rfind(')');  // the name itself may contain both
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  StatLine s;
  auto head = text.substr(0, open);
  if (!to_number(next_word(head), s.pid) || s.pid <= 0) return {};
  s.comm = text.substr(open + 1, close - open - 1);

  // Fields 3.. of proc(5); index 0 is field 3.
  auto rest = text.substr(close + 1);
  const auto state = next_word(rest);
  if (state.size() != 1) return {};
  s.state = state[0];
  std::uint64_t image = 0xcbf29ce484222325ULL;
  for (const char c : s.comm) mix(image, static_cast<unsigned char>(c));
  std::int64_t rss = 0;
  for (int field = 4; field <= 48; ++field) {
    const auto word = next_word(rest);
    if (word.empty()) {
      if (field <= 24) return {};
      break;
    }
    bool good = true;
    switch (field) {
      case 4:
        good = to_number(word, s.ppid);
        break;
      case 5:
        good = to_number(word, s.process_group);
        break;
      case 6:
        good = to_number(word, s.session);
        break;
      case 7:
        good = to_number(word, s.tty);
        break;
      case 9:
        good = to_number(word, s.flags);
        break;
      case 14:
        good = to_number(word, s.utime_ticks);
        break;
      case 15:
        good = to_number(word, s.stime_ticks);
        break;
      case 20:
        good = to_number(word, s.threads);
        break;
      case 22:
        good = to_number(word, s.start_ticks);
        break;
      case 23:
        good = to_number(word, s.vsz_bytes);
        break;
      case 24:
        good = to_number(word, rss);
        break;
      case 26:
      case 27:
      case 28:
      case 45:
      case 47:
      case 48: {
        // Where code, stack, data, heap and arguments lie: every execve lays them out anew.
        std::uint64_t address = 0;
        good = to_number(word, address);
        mix(image, address);
        break;
      }
      default:
        break;
    }
    if (!good) return {};
  }
  if (s.ppid < 0 || s.threads < 0) return {};
  s.rss_pages = rss > 0 ? static_cast<std::uint64_t>(rss) : 0;
  s.image_print = image;
  return s;
}

// The device number as the kernel writes it here: minor 0-7, major 8-19, minor 20-31.
std::string tty_name(std::int32_t tty) {
  if (tty == 0) return "";
  const auto number = static_cast<std::uint32_t>(tty);
  const std::uint32_t major = number >> 8 & 0xfff;
  const std::uint32_t minor = (number & 0xff) | (number >> 12 & 0xfff00);
  constexpr std::uint32_t kVirtual = 4, kSerial = 64, kConsole = 5, kPts = 136, kPtsLast = 143;
  if (major >= kPts && major <= kPtsLast)
    return "pts/" + std::to_string((major - kPts) * 256 + minor);
  if (major == kVirtual && minor < kSerial) return "tty" + std::to_string(minor);
  if (major == kVirtual) return "ttyS" + std::to_string(minor - kSerial);
  if (major == kConsole && minor == 1) return "console";
  return std::to_string(major) + ":" + std::to_string(minor);
}

std::optional<SchedStat> parse_schedstat(std::string_view text) {
  SchedStat s;
  if (!to_number(next_word(text), s.run_ns) || !to_number(next_word(text), s.wait_ns)) return {};
  return s;
}

std::optional<std::uint32_t> parse_status_uid(std::string_view text) {
  while (!text.empty()) {
    auto line = next_line(text);
    if (!line.starts_with("Uid:")) continue;
    line.remove_prefix(4);
    std::uint32_t uid = 0;
    if (!to_number(next_word(line), uid)) return {};
    return uid;
  }
  return {};
}

std::optional<std::uint64_t> parse_named_number(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    auto line = next_line(text);
    if (next_word(line) != name) continue;
    std::uint64_t value = 0;
    if (!to_number(next_word(line), value)) return {};
    return value;
  }
  return {};
}

std::optional<MemInfo> parse_meminfo(std::string_view text) {
  const auto total = parse_named_number(text, "MemTotal:");
  const auto available = parse_named_number(text, "MemAvailable:");
  constexpr auto kKibMax = std::numeric_limits<std::uint64_t>::max() / 1024;
  if (!total || !available || *total > kKibMax || *available > kKibMax) return {};
  return MemInfo{*total * 1024, *available * 1024};
}

std::optional<double> parse_cpuinfo_mhz(std::string_view text) {
  std::optional<double> best;
  while (!text.empty()) {
    auto line = next_line(text);
    if (!line.starts_with("cpu MHz")) continue;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    line.remove_prefix(colon + 1);
    double mhz = 0;
    if (to_number(next_word(line), mhz) && mhz > 0 && mhz < 1e6 && (!best || mhz > *best))
      best = mhz;
  }
  return best;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  if (!to_number(next_word(text), value) || !next_word(text).empty()) return {};
  return value;
}

std::optional<Pressure> parse_pressure(std::string_view text) {
  Pressure p;
  bool found = false;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto kind = next_word(line);
    auto value = next_word(line);
    if (!value.starts_with("avg10=")) continue;
    value.remove_prefix(6);
    double percent = 0;
    if (!to_number(value, percent) || !(percent >= 0 && percent <= 100)) return {};
    if (kind == "some") {
      p.some_avg10 = percent;
      found = true;
    } else if (kind == "full") {
      p.full_avg10 = percent;
    }
  }
  if (!found) return {};
  return p;
}

std::optional<std::string_view> parse_cgroup_v2_path(std::string_view text) {
  while (!text.empty()) {
    auto line = next_line(text);
    if (!line.starts_with("0::/")) continue;
    return line.substr(3);
  }
  return {};
}

std::optional<CgroupMount> parse_cgroup_v2_mount(std::string_view mountinfo) {
  while (!mountinfo.empty()) {
    const auto line = next_line(mountinfo);
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    auto type = line.substr(dash + 3);
    if (next_word(type) != "cgroup2") continue;
    auto fields = line.substr(0, dash);
    next_word(fields), next_word(fields), next_word(fields);  // mount id, parent id, device
    const auto root = next_word(fields);
    const auto mount_point = next_word(fields);
    if (!root.starts_with('/') || !mount_point.starts_with('/')) return {};
    return CgroupMount{root, mount_point};
  }
  return {};
}

}  // namespace ssi::proc
