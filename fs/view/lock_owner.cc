#include "fs/view/lock_owner.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "ssid/base/unique_fd.h"

namespace ssi::fs {
namespace {

constexpr std::chrono::seconds kAsleepWithin{2};  // a busy machine may not have let it get there
constexpr std::chrono::microseconds kPause{50};

}  // namespace

// "72 0x3 0x25 0x7ffe..": its number, in decimals, and its arguments.
std::optional<LockOwner> lock_owner_in(std::string_view syscall) {
  const std::string text(syscall);
  long number = -1;
  unsigned long fd = 0, command = 0;
  if (std::sscanf(text.c_str(), "%ld %lx %lx", &number, &fd, &command) != 3) return {};
  if (number != SYS_fcntl) return {};
  switch (static_cast<int>(command)) {
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return LockOwner::kOpenFile;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
      return LockOwner::kProcess;
    default:
      return {};
  }
}

LockOwner lock_owner_of(pid_t thread) {
  const std::string path = "/proc/" + std::to_string(thread) + "/syscall";
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return LockOwner::kProcess;
  const auto until = std::chrono::steady_clock::now() + kAsleepWithin;
  do {
    char text[256];
    const ssize_t size = ::pread(*file, text, sizeof text, 0);
    if (size <= 0) break;
    if (const auto owner = lock_owner_in({text, static_cast<std::size_t>(size)})) return *owner;
    std::this_thread::sleep_for(kPause);
  } while (std::chrono::steady_clock::now() < until);
  return LockOwner::kProcess;
}

}  // namespace ssi::fs
