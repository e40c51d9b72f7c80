// Tells at once that a program of the list is being started (fanotify(7), FAN_OPEN_EXEC), so that
// it is enabled before it has started anything itself; whatever is linked to it. Needs
// CAP_SYS_ADMIN.
//
// The kernel tells when the file is opened, which is before the new program runs, and waits for
// nobody: a hung ssid holds up no exec(2). Who is told late enables late, by the next pass.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

// Owned by the balancer; one thread.
class ExecWatch {
 public:
  struct Started {
    pid_t pid = 0;    // in our PID namespace; still its old program, maybe
    std::string exe;  // as /proc/PID/exe will have it
    bool operator==(const Started&) const = default;
  };

  static Result<ExecWatch> open();

  // From now on these programs (links followed), and no others. Files that are not there are left
  // out: say it again now and then, also for those that were replaced.
  void watch(const std::set<std::string>& programs);
  // Readable when there is something to take().
  int fd() const { return *fd_; }
  std::vector<Started> take();

 private:
  explicit ExecWatch(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace ssi
