#include "fs/view/watch_found.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <optional>

#include "ssid/base/file_text.h"

namespace ssi::fs {
namespace {

constexpr std::uint64_t kFuseHandle =
    0x81;  // FILEID_INO64_GEN: two halves of the number, generation

// What stands after "NAME:" in a line.
std::string_view field(std::string_view line, std::string_view name) {
  for (std::size_t at = 0; (at = line.find(name, at)) != std::string_view::npos; ++at) {
    const std::size_t colon = at + name.size();
    if ((at > 0 && line[at - 1] != ' ') || colon >= line.size() || line[colon] != ':') continue;
    const std::string_view rest = line.substr(colon + 1);
    return rest.substr(0, rest.find(' '));
  }
  return {};
}

std::optional<std::uint64_t> hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || bad != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

// Four bytes, the lowest first, from their digits.
std::optional<std::uint64_t> word(std::string_view digits) {
  std::uint64_t value = 0;
  for (int i = 3; i >= 0; --i) {
    const auto byte = hex(digits.substr(static_cast<std::size_t>(i) * 2, 2));
    if (!byte) return {};
    value = value << 8 | *byte;
  }
  return value;
}

// As the kernel numbers it for itself.
std::uint64_t device_of(std::uint64_t number) {
  return makedev(static_cast<unsigned int>(number >> 20),
                 static_cast<unsigned int>(number & 0xfffff));
}

}  // namespace

void add_watched(std::string_view fdinfo, std::uint64_t device, WatchedFiles& found) {
  while (!fdinfo.empty()) {
    const std::string_view line = fdinfo.substr(0, fdinfo.find('\n'));
    fdinfo.remove_prefix(std::min(line.size() + 1, fdinfo.size()));
    if (!line.starts_with("inotify ")) continue;
    const auto on = hex(field(line, "sdev"));
    const auto mask = hex(field(line, "mask"));
    const std::string_view handle = field(line, "f_handle");
    if (!on || !mask || device_of(*on) != device) continue;
    if (hex(field(line, "fhandle-type")) != kFuseHandle || handle.size() < 24) continue;
    const auto high = word(handle.substr(0, 8));
    const auto low = word(handle.substr(8, 8));
    if (high && low) found[*high << 32 | *low] |= static_cast<std::uint32_t>(*mask);
  }
}

WatchedFiles find_watched(const std::set<pid_t>& processes, std::uint64_t device) {
  WatchedFiles found;
  for (const pid_t pid : processes) {
    const std::string process = "/proc/" + std::to_string(pid);
    const std::unique_ptr<DIR, int (*)(DIR*)> fds(::opendir((process + "/fd").c_str()),
                                                  &::closedir);
    if (!fds) continue;
    while (const dirent* entry = ::readdir(fds.get())) {
      char target[32];
      const ssize_t size = ::readlinkat(::dirfd(fds.get()), entry->d_name, target, sizeof target);
      if (size <= 0 ||
          std::string_view(target, static_cast<std::size_t>(size)) != "anon_inode:inotify") {
        continue;
      }
      add_watched(text_of_file(process + "/fdinfo/" + entry->d_name), device, found);
    }
  }
  return found;
}

std::string cgroup_in(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with("0::")) return std::string(line.substr(3));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return {};
}

}  // namespace ssi::fs
