// libssi (ssi.h). Of the C library only; no exceptions, no heap.
#include "shim/ssi.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "shim/ssi_abi.h"

namespace {

// What a program may count on finding free (0, 1, 2 and the lowest of the others) stays so.
constexpr int kPinDescriptorMin = 200;

// In the programs that are linked with it, once; a lock that is held for two system calls.
pthread_mutex_t pin_mutex = PTHREAD_MUTEX_INITIALIZER;
int pins = 0;
int pin_fd = -1;

void before_fork() { ::pthread_mutex_lock(&pin_mutex); }
void in_parent() { ::pthread_mutex_unlock(&pin_mutex); }
void in_child() {
  if (pin_fd >= 0) ::close(pin_fd);
  pin_fd = -1;
  pins = 0;
  ::pthread_mutex_unlock(&pin_mutex);
}
[[gnu::constructor]] void heed_forks() { ::pthread_atfork(before_fork, in_parent, in_child); }

class PinLock {
 public:
  PinLock() { ::pthread_mutex_lock(&pin_mutex); }
  ~PinLock() { ::pthread_mutex_unlock(&pin_mutex); }
  PinLock(const PinLock&) = delete;
  PinLock& operator=(const PinLock&) = delete;
};

// A file of this process in /cluster/proc.
int open_own(const char* name, int flags) {
  char path[64];
  (void)std::snprintf(path, sizeof path, "/cluster/proc/%d/%s", ::getpid(), name);
  return ::open(path, flags | O_CLOEXEC);
}

void close_and_keep_errno(int fd) {
  const int error = errno;
  ::close(fd);
  errno = error;
}

}  // namespace

int ssi_loadlevel(int on) {
  const int fd = open_own("loadlevel", O_WRONLY);
  if (fd < 0) return -1;
  const ssize_t written = ::write(fd, on != 0 ? "1\n" : "0\n", 2);
  close_and_keep_errno(fd);
  return written == 2 ? 0 : -1;
}

int ssi_where() {
  const int fd = open_own("where", O_RDONLY);
  if (fd < 0) return -1;
  char text[16];
  const ssize_t size = ::read(fd, text, sizeof text - 1);
  close_and_keep_errno(fd);
  if (size < 0) return -1;
  text[size] = '\0';
  const int node = std::atoi(text);
  if (node > 0) return node;
  errno = ENOENT;
  return -1;
}

int ssi_pin() {
  const PinLock lock;
  if (pins == 0) {
    const int low = ::memfd_create(ssi::kPinName, MFD_CLOEXEC);
    if (low < 0) return -1;
    const int high = ::fcntl(low, F_DUPFD_CLOEXEC, kPinDescriptorMin);
    if (high >= 0) ::close(low);
    pin_fd = high >= 0 ? high : low;
  }
  ++pins;
  return 0;
}

int ssi_unpin() {
  const PinLock lock;
  if (pins == 0) {
    errno = EINVAL;
    return -1;
  }
  if (--pins > 0) return 0;
  ::close(pin_fd);
  pin_fd = -1;
  return 0;
}
