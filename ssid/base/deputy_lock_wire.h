// What a deputy that keeps record locks is asked, and answers, by one packet each on a connection
// of its own (SOCK_SEQPACKET, abstract name). Shared with the stub, which is freestanding. Both
// ends run on the same kernel.
#pragma once

#include <stdint.h>

namespace ssi {

// Its PID in decimals follows.
inline constexpr char kDeputyLockName[] = "ssid-deputy-locks.";
inline constexpr uint32_t kDeputyLockMagic = 0x4b434c44;

// fcntl(number, command, lock), of a whole file's positions. The answer has the lock as the call
// left it.
struct DeputyLock {
  uint32_t magic = kDeputyLockMagic;
  int32_t error = 0;    // answer: errno
  int32_t command = 0;  // F_SETLK, F_GETLK
  int32_t number = -1;  // of its descriptor
  int32_t type = 0;
  int32_t pid = 0;  // answer
  int64_t start = 0;
  int64_t length = 0;
};

}  // namespace ssi
