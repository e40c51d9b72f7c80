#include "ssid/base/lease.h"

#include <sstream>

namespace ssi {

// "lock:\t1: LEASE  BREAKING  READ 4711 fe:01:4242 0 EOF"; UNLCK is what it can only become.
Lease parse_lease(std::string_view fdinfo) {
  std::istringstream lines{std::string(fdinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string head, number, kind, state, type;
    if (!(words >> head >> number >> kind >> state >> type)) continue;
    if (head != "lock:" || kind != "LEASE") continue;
    Lease lease;
    lease.breaking = state == "BREAKING" ? 1 : 0;
    lease.type = type == "WRITE" ? F_WRLCK : type == "READ" ? F_RDLCK : F_UNLCK;
    return lease;
  }
  return {};
}

int lease_strength(std::uint32_t type) {
  if (type == F_WRLCK) return 2;
  return type == F_RDLCK ? 1 : 0;
}

}  // namespace ssi
