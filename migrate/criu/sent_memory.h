// A file beside criu's images at the source, which calls_of_criu.cc reads: shared memory that is
// sent by us, so that criu need not read it. An array of SentMemory; without it there is none.
// Without the library of C++.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ssi::migrate {

inline constexpr const char* kSentMemoryFile = "sent-memory";
inline constexpr size_t kSentMemoryMax = 64;

struct SentMemory {
  uint64_t device;
  uint64_t inode;
};

}  // namespace ssi::migrate
