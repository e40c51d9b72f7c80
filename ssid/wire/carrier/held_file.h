// How movers name, to a view, a file that home's store holds for a process on its way; and what
// they ask of an open file of a view. Known to the view (fs/view) and to the movers. Pure.
//
// A held file is found in the root of a view by a name that no listing shows. To rename it to the
// name that the file once had changes only what /proc calls it here: at home nothing happens, and
// the next one who looks finds nothing there. To look for the other name ends the hold. All this,
// and the requests by ioctl, are for root only; any other file answers those by ENOTTY.
#pragma once

#include <sys/ioctl.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "ssid/base/lease.h"
#include "ssid/wire/carrier/lock_range.h"

namespace ssi {

inline constexpr std::string_view kHeldNamePrefix = ".ssid-held-";
inline constexpr std::string_view kReleaseNamePrefix = ".ssid-release-";

inline std::string held_name(std::uint64_t id, std::string_view prefix = kHeldNamePrefix) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(id));
  return std::string(prefix) + digits;
}

inline std::optional<std::uint64_t> held_id(std::string_view name,
                                            std::string_view prefix = kHeldNamePrefix) {
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  std::uint64_t id = 0;
  const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), id, 16);
  if (bad != std::errc{} || end != name.data() + name.size() || name.size() != 16 || id == 0) {
    return {};
  }
  return id;
}

// kHoldFile: home holds this open file from now on.
struct HoldFile {
  std::uint64_t id = 0;  // answer
};
// kAdoptFile: this open file is the held one from now on, with the locks that it has. Its lease is
// that of `number` of process `pid`, in the PID namespace of the carrier.
struct AdoptFile {
  std::uint64_t id = 0;
  std::uint32_t flock = 0;  // LOCK_SH or LOCK_EX
  Lease lease{};
  std::int32_t pid = 0;
  std::int32_t number = -1;
  std::uint32_t reserved = 0;
  std::uint32_t ranges = 0;  // how many of:
  LockRange range[kLockRangesMax];
};
// kAskLocks: which locks a guest of this view holds on it at home. Of the ranges only the first
// kLockRangesMax are told.
struct FileLocks {
  // The question: of which process, in the PID namespace of the carrier, and which descriptor of
  // it.
  std::int32_t pid = 0;
  std::int32_t number = -1;
  std::uint32_t flock = 0;           // LOCK_SH or LOCK_EX by this open file; 0: none
  std::uint32_t ranges = 0;          // of this open file
  std::uint32_t process_ranges = 0;  // of the process, by any open file of the same file
  std::uint32_t for_guests = 0;      // 1: it is a view of guests, not of a node's users
  // 1, in the question: this kernel has a lease of it; in the answer: so has home's, now.
  std::uint32_t leased = 0;
  std::uint32_t reserved = 0;
  LockRange range[kLockRangesMax];
  LockRange process_range[kLockRangesMax];
};
// kHoldLocks: home holds the record locks that the process has of this file, whatever becomes of
// the process.
struct HoldLocks {
  std::int32_t pid = 0;
  std::uint32_t reserved = 0;
  std::uint64_t id = 0;  // answer
};
// kExpectLocks: of a held file. The process that is being rebuilt here, and calls itself `pid`,
// gets the held locks as its own when it asks for the first one.
struct ExpectLocks {
  std::uint64_t id = 0;
  std::int32_t pid = 0;
  std::uint32_t reserved = 0;
};

// An extended attribute of the root, to be set: when the process that is being rebuilt here, and
// calls itself `pid`, opens that file, it gets the held open file, and no other opening.
inline constexpr const char* kExpectOpeningAttribute = "trusted.ssid.expect";
struct ExpectOpening {
  std::uint64_t id = 0;
  std::int32_t pid = 0;
  std::uint32_t reserved = 0;
};

// kHoldFile for what has none of the view's ioctls (a named pipe, a path handle): its number is the
// value, in decimals, of this extended attribute.
inline constexpr const char* kHoldAttribute = "trusted.ssid.hold";

inline constexpr unsigned kHoldFile = _IOR(0xE5, 1, HoldFile);
inline constexpr unsigned kAdoptFile = _IOW(0xE5, 2, AdoptFile);
inline constexpr unsigned kAskLocks = _IOWR(0xE5, 3, FileLocks);
inline constexpr unsigned kHoldLocks = _IOWR(0xE5, 4, HoldLocks);
inline constexpr unsigned kExpectLocks = _IOW(0xE5, 5, ExpectLocks);

}  // namespace ssi
