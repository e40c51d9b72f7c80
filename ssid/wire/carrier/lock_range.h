// A record lock of fcntl(2) as views, movers and carriers tell it to each other. Pure.
#pragma once

#include <cstdint>

namespace ssi {

inline constexpr std::uint32_t kLockRangesMax = 64;  // of one owner and one file

struct LockRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;   // inclusive; INT64_MAX: however long the file gets
  std::uint32_t type = 0;  // F_RDLCK, F_WRLCK
  std::uint32_t reserved = 0;
  bool operator==(const LockRange&) const = default;
};

}  // namespace ssi
