// A lease on an open file (fcntl F_SETLEASE), as the kernel shows it in /proc/PID/fdinfo. Pure.
//
// While somebody else's open(2) breaks it, its owner has been told and has /proc/sys/fs/
// lease-break-time seconds to let go: `type` is then what it has to become.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace ssi {

struct Lease {
  std::uint32_t type = F_UNLCK;  // or F_RDLCK, F_WRLCK
  std::uint32_t breaking = 0;    // 1: it is being broken
  bool any() const { return type != F_UNLCK || breaking != 0; }
  bool operator==(const Lease&) const = default;
};

// From the text of /proc/PID/fdinfo/FD.
Lease parse_lease(std::string_view fdinfo);

// How much it keeps others from: 0 nothing, 1 writing, 2 all.
int lease_strength(std::uint32_t type);

}  // namespace ssi
