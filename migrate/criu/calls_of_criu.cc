// Loaded into criu (criu_library.h). Where root lacks CAP_SYS_RESOURCE, as in a container, the
// kernel tells prlimit(2) of a process of another user to nobody; a dumping criu gives up then.
// /proc tells everybody: what is refused is read there. A file in memory whose name says so is not
// made, but is a descriptor of the criu that was started, filled already. Shared memory that is
// sent by those who started it has no pages to it (sent_memory.h). All other calls are what they
// are.
//
// criu asks by syscall(2), memfd_create(2) and lseek(2), of which this takes the place. It uses the
// C library only, as criu does.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "migrate/criu/criu_arguments.h"
#include "migrate/criu/given_memory_name.h"
#include "migrate/criu/limits_text.h"
#include "migrate/criu/sent_memory.h"

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

// criu makes it in one of the processes that it rebuilds, which are its children and have closed
// what they inherited.
pid_t started_pid = 0;
[[gnu::constructor]] void remember_pid() { started_pid = ::getpid(); }

// -1: it is none of those.
int given_memory(const char* name) {
  const std::size_t prefix = ::strlen(ssi::migrate::kGivenMemfdPrefix);
  if (::strncmp(name, ssi::migrate::kGivenMemfdPrefix, prefix) != 0) return -1;
  char path[64];
  (void)::snprintf(path, sizeof path, "/proc/%d/fd/%d", started_pid, ::atoi(name + prefix));
  return ::open(path, O_RDWR);
}

ssi::migrate::SentMemory sent_memory[ssi::migrate::kSentMemoryMax];
size_t sent_memory_count = 0;

// There is nothing in it when criu starts.
void read_sent_memory() {
  static bool was_read = false;
  if (was_read) return;
  was_read = true;
  const int fd =
      ::openat(ssi::migrate::kCriuImagesFd, ssi::migrate::kSentMemoryFile, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t bytes = ::read(fd, sent_memory, sizeof sent_memory);
  ::close(fd);
  if (bytes > 0) sent_memory_count = static_cast<size_t>(bytes) / sizeof sent_memory[0];
}

bool is_sent_memory(int fd) {
  read_sent_memory();
  struct stat st;
  if (sent_memory_count == 0 || ::fstat(fd, &st) != 0) return false;
  for (size_t i = 0; i < sent_memory_count; ++i) {
    if (sent_memory[i].device == st.st_dev && sent_memory[i].inode == st.st_ino) return true;
  }
  return false;
}

}  // namespace

extern "C" long syscall(long number, ...) noexcept {
  Call call{.number = number, .arguments = {}};
  va_list list;
  va_start(list, number);
  for (long& argument : call.arguments) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_memfd_create) {
    const int given = given_memory(reinterpret_cast<const char*>(call.arguments[0]));
    if (given >= 0) return given;
  }
  const long result = make(call);
  if (result == -EPERM && asks_for_limits(call) && read_limits(call)) return 0;
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

extern "C" int memfd_create(const char* name, unsigned int flags) noexcept {
  return static_cast<int>(syscall(SYS_memfd_create, name, flags));
}

// What criu calls lseek(), of large files.
extern "C" off64_t lseek64(int fd, off64_t offset, int whence) noexcept {
  if (whence == SEEK_DATA && is_sent_memory(fd)) {
    errno = ENXIO;
    return -1;
  }
  return syscall(SYS_lseek, fd, offset, whence);
}
