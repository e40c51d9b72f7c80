// A lock on bytes of a file, as fcntl(2) takes it (F_SETLK, F_OFD_SETLK ..).
#pragma once

#include <fcntl.h>

namespace ssi {

// `length` 0: to the end of the file, wherever that is.
inline struct flock record_lock(short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

}  // namespace ssi
