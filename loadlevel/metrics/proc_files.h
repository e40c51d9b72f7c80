// The door to /proc: listing and reading by descriptor, with one reused buffer. Owned by
// ProcessScan and NodeMeter; one thread. A process that has gone is an empty answer, expected at
// any time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

class ProcFiles {
 public:
  // `root` is "/proc", or a directory laid out like it.
  static Result<ProcFiles> open(const std::string& root);

  struct PidEntry {
    pid_t pid = 0;
    std::uint64_t inode = 0;  // of the directory entry; another one may mean another process
  };
  // The numeric entries of the root (or of `TGID/task`), ascending. False if it can't be listed.
  bool list_processes(std::vector<PidEntry>& out);
  bool list_threads(pid_t pid, std::vector<PidEntry>& out);

  // Text of ROOT/PID/NAME or ROOT/NAME. Valid until the next call; empty if it can't be read.
  std::string_view read(pid_t pid, const char* name);
  std::string_view read(const char* name);
  std::string_view read_thread(pid_t pid, pid_t tid, const char* name);

  // The same with a descriptor that the caller keeps: cheaper from the second reading on.
  UniqueFd open_file(pid_t pid, const char* name);
  std::string_view read_again(const UniqueFd& fd);

  // Target of ROOT/PID/NAME (a symbolic link); empty if it can't be read.
  std::string read_link(pid_t pid, const char* name);

 private:
  explicit ProcFiles(UniqueFd root);
  bool list(int dir_fd, std::vector<PidEntry>& out);

  UniqueFd root_;
  std::vector<char> buffer_;
};

}  // namespace ssi
