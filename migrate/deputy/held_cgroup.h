// The cgroup v2 directory in which one process is held still: cgroup.freeze = 1.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::deputy {

// Holds the directory open; freezes and thaws only when told. Any thread, one at a time.
class HeldCgroup {
 public:
  static Result<HeldCgroup> open(const std::string& directory);

  Result<> freeze() const { return write("cgroup.freeze", "1"); }
  Result<> thaw() const { return write("cgroup.freeze", "0"); }
  // The kernel says so itself: every task in it stands still.
  Result<> wait_frozen(std::chrono::milliseconds timeout) const;
  Result<bool> told_to_freeze() const;
  Result<std::vector<pid_t>> processes() const;

 private:
  explicit HeldCgroup(UniqueFd dir) : dir_(std::move(dir)) {}
  Result<std::string> read(const char* file) const;
  Result<> write(const char* file, const char* text) const;

  UniqueFd dir_;
};

}  // namespace ssi::deputy
