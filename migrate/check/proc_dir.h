// /proc/PID held open, so that all that is read belongs to one process, even if it ends and its PID
// is used again: then every read fails with kGone.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::check {

class ProcDir {
 public:
  static Result<ProcDir> open(pid_t pid);

  pid_t pid() const { return pid_; }
  Result<std::string> read(const std::string& file) const;
  Result<std::string> link(const std::string& file) const;
  // Follows the link.
  Result<struct stat> status(const std::string& file) const;
  Result<std::vector<std::string>> list(const std::string& dir) const;
  Result<UniqueFd> open_file(const std::string& file, int flags) const;
  // A path that works while this object lives, for calls that take no directory.
  std::string path(const std::string& file) const;

 private:
  ProcDir(pid_t pid, UniqueFd dir) : pid_(pid), dir_(std::move(dir)) {}
  Error error(const std::string& file) const;

  pid_t pid_;
  UniqueFd dir_;
};

// Of one thread of it; none if that has ended.
std::vector<pid_t> children_of(const ProcDir& proc, const std::string& tid);

// A process and all below it, as they are found one after the other; empty if it is gone.
std::set<pid_t> pids_of_tree(pid_t root);

// All processes there are now; some may have ended when you look.
std::vector<pid_t> all_processes();

struct Mapping {
  std::string range;   // "7f00-7f10"
  char flags[5] = {};  // "rw-s"
  unsigned device_major = 0, device_minor = 0;
  std::uint64_t inode = 0;
  std::string name;
  bool shared() const { return flags[3] == 's'; }
  bool writable() const { return flags[1] == 'w'; }
};
std::vector<Mapping> parse_maps(const std::string& text);
// By the name of a mapping. Nameless: of the kernel's own file system.
bool is_nameless_memory(std::string_view name);
bool is_memory_object(std::string_view name);

// The value after "Name:" in /proc/PID/status, without blanks around it.
std::string field(const std::string& status, const std::string& name);

}  // namespace ssi::check
