// Loaded into a dumping criu where root lacks CAP_SYS_RESOURCE, as in a container (criu_limits.h).
// The kernel tells prlimit(2) of a process of another user to nobody there; criu gives up then.
// /proc tells everybody: what is refused is read there. All other calls are what they are.
//
// criu asks by syscall(2), which this takes the place of. It uses the C library only, as criu does.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "migrate/criu/limits_text.h"

namespace {

struct Call {
  long number;
  long arguments[6];
};

// As the kernel gives it: a negative value above -4096 is -errno.
long make(const Call& call) {
  long result;
  register long r10 asm("r10") = call.arguments[3];
  register long r8 asm("r8") = call.arguments[4];
  register long r9 asm("r9") = call.arguments[5];
  asm volatile("syscall"
               : "=a"(result)
               : "a"(call.number), "D"(call.arguments[0]), "S"(call.arguments[1]),
                 "d"(call.arguments[2]), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

bool asks_for_limits(const Call& call) {
  return call.number == SYS_prlimit64 && call.arguments[2] == 0 && call.arguments[3] != 0;
}

bool read_limits(const Call& call) {
  char path[64];
  (void)::snprintf(path, sizeof path, "/proc/%ld/limits", call.arguments[0]);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[4096];
  const ssize_t size = ::read(fd, text, sizeof text);
  ::close(fd);
  rlimit64 limits{};
  if (size <= 0 || !ssi::migrate::limits_in({text, static_cast<std::size_t>(size)},
                                            static_cast<unsigned>(call.arguments[1]), limits)) {
    return false;
  }
  *reinterpret_cast<rlimit64*>(call.arguments[3]) = limits;
  return true;
}

}  // namespace

extern "C" long syscall(long number, ...) noexcept {
  Call call{.number = number, .arguments = {}};
  va_list list;
  va_start(list, number);
  for (long& argument : call.arguments) argument = va_arg(list, long);
  va_end(list);
  const long result = make(call);
  if (result == -EPERM && asks_for_limits(call) && read_limits(call)) return 0;
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}
