#include "migrate/check/pipe_readers.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>

namespace ssi::check {
namespace fs = std::filesystem;
namespace {

// "flags:\t0100002", octal.
bool reads(const fs::path& fdinfo) {
  std::ifstream in(fdinfo);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("flags:")) continue;
    const unsigned long flags = std::strtoul(line.c_str() + 6, nullptr, 8);
    return (flags & O_ACCMODE) != O_WRONLY;
  }
  return false;
}

bool holds_reading_end(const fs::path& process, const std::string& name) {
  std::error_code ec;
  for (const auto& fd : fs::directory_iterator(process / "fd", ec)) {
    std::error_code gone;
    if (fs::read_symlink(fd.path(), gone) == name &&
        reads(process / "fdinfo" / fd.path().filename())) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<pid_t> pipe_readers(std::uint64_t inode, const std::vector<pid_t>& except) {
  const std::string name = "pipe:[" + std::to_string(inode) + "]";
  std::vector<pid_t> readers;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const std::string file = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(file.data(), file.data() + file.size(), pid);
    if (bad != std::errc{} || end != file.data() + file.size()) continue;
    if (std::find(except.begin(), except.end(), pid) != except.end()) continue;
    if (holds_reading_end(entry.path(), name)) readers.push_back(pid);
  }
  return readers;
}

}  // namespace ssi::check
