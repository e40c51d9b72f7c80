// Locks of guests, held at home where everybody sees them. Record locks of a process (F_SETLK)
// belong to an owner, so each owner has an open file of its own per node and F_OFD_SETLK on it;
// those of an open file (F_OFD_SETLK) and flock() locks belong to that one itself. Those that a
// deputy has (deputy_locks.h) are changed by the deputy. Nothing here
// waits: a view that wants to wait asks again, so a lane is never held up.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "fs/store/call.h"
#include "ssid/base/record_lock.h"

namespace ssi::fs {
namespace {

bool valid_lock(const LockBody& body) {
  return (body.type == F_RDLCK || body.type == F_WRLCK || body.type == F_UNLCK) &&
         body.start <= INT64_MAX && body.length <= INT64_MAX - body.start;
}

struct flock flock_of(const LockBody& body) {
  return record_lock(static_cast<short>(body.type), static_cast<off_t>(body.start),
                     static_cast<off_t>(body.length));
}

// By whom it is held; null: see errno.
NodeTable::SharedFd lock_fd(Call& call, const LockBody& body, bool make) {
  if (call.head.handle == 0) return call.session.lock_file(call.head.node, body.owner, make);
  const auto file = call.session.handle(call.head.handle);
  if (file) return file->fd;
  errno = EBADF;
  return nullptr;
}

// Of a process that left home with a lock for writing.
HeldFiles::SharedLocks deputy_of(Call& call, const LockBody& body) {
  if (call.head.handle != 0) return nullptr;
  return call.session.lock_deputy(call.head.node, body.owner);
}

}  // namespace

int on_setlk(Call& call) {
  const auto body = call.body.get<LockBody>();
  if (!call.body.done() || !valid_lock(body)) return kMalformed;
  if (const auto deputy = deputy_of(call, body)) return deputy->set(flock_of(body));
  const auto fd = lock_fd(call, body, body.type != F_UNLCK);
  if (!fd) return body.type == F_UNLCK && errno == ENOENT ? 0 : errno;
  struct flock lock = flock_of(body);
  if (::fcntl(**fd, F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

int on_getlk(Call& call) {
  const auto body = call.body.get<LockBody>();
  if (!call.body.done() || !valid_lock(body) || body.type == F_UNLCK) return kMalformed;
  const auto fd = lock_fd(call, body, true);
  if (!fd) return errno;
  struct flock lock = flock_of(body);
  if (const auto deputy = deputy_of(call, body)) {
    if (const int error = deputy->get(lock); error != 0) return error;
  } else if (::fcntl(**fd, F_OFD_GETLK, &lock) != 0) {
    return errno;
  }
  LockBody held;
  held.type = static_cast<std::uint32_t>(lock.l_type);
  held.start = static_cast<std::uint64_t>(lock.l_start);
  held.length = static_cast<std::uint64_t>(lock.l_len);
  held.pid = lock.l_pid;
  call.reply.append(held);
  return 0;
}

int on_flock(Call& call) {
  const auto body = call.body.get<LockBody>();
  if (!call.body.done()) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  const auto operation = static_cast<int>(body.type);
  if (operation != LOCK_SH && operation != LOCK_EX && operation != LOCK_UN) return kMalformed;
  return ::flock(**file->fd, operation | LOCK_NB) == 0 ? 0 : errno;
}

int on_unlock_owner(Call& call) {
  const auto body = call.body.get<LockBody>();
  if (!call.body.done()) return kMalformed;
  call.session.drop_lock_file(call.head.node, body.owner);
  return 0;
}

int on_goodbye(Call& call) {
  if (!call.body.done()) return kMalformed;
  call.session.end();
  return 0;
}

}  // namespace ssi::fs
