// A userfaultfd for another process's memory, got by a program of its own (ssid-uffd): should ssid
// be killed in the midst, that program still puts the process back to where it was.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// How a userfaultfd of a process is got; errors as of open_userfaultfd_in (remote_uffd.h).
using OpenUserfaultfd = std::function<Result<UniqueFd>(pid_t)>;

// By starting `program`; blocks for some milliseconds.
OpenUserfaultfd userfaultfd_by(std::string program);

// What that program does: opens it, and says on the socket `to` how it went.
int run_uffd_helper(pid_t pid, int to);

}  // namespace ssi::migrate
