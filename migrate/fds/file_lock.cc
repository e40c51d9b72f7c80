#include "migrate/fds/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace ssi::fds {

namespace {

// "4711 fe:01:4242 0 EOF": its holder, the file, the first byte and the last.
LockRange range_of(const std::string& access, std::istringstream& words) {
  LockRange range;
  range.type = access == "WRITE" ? F_WRLCK : F_RDLCK;
  std::string holder, file, end;
  words >> holder >> file >> range.start >> end;
  range.end = end == "EOF" ? INT64_MAX : std::strtoull(end.c_str(), nullptr, 10);
  return range;
}

}  // namespace

// "lock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:01:4242 0 EOF", one line for each.
HeldLocks parse_locks(std::string_view fdinfo) {
  HeldLocks locks;
  std::istringstream lines{std::string(fdinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string head, number, kind, how, access;
    if (!(words >> head >> number >> kind >> how >> access) || head != "lock:") continue;
    if (kind == "FLOCK") {
      locks.flock = access == "WRITE" ? LOCK_EX : LOCK_SH;
    } else if (kind == "LEASE") {
      locks.lease = parse_lease(line);
    } else if (kind == "DELEG") {
      locks.delegation = true;
    } else if (kind == "OFDLCK") {
      locks.of_file.push_back(range_of(access, words));
    } else {
      locks.of_process.push_back(range_of(access, words));
    }
  }
  return locks;
}

bool has_write_lock(const std::vector<LockRange>& ranges) {
  return std::ranges::any_of(ranges, [](const LockRange& r) { return r.type == F_WRLCK; });
}

std::string lock_that_stays(const HeldLocks& locks, bool is_guest) {
  if (is_guest && !locks.at_home && has_write_lock(locks.of_process)) {
    return "a record lock for writing (fcntl), which can't be handed over without a gap";
  }
  const std::size_t ranges = std::max(locks.of_file.size(), locks.of_process.size());
  if (ranges > kLockRangesMax) {
    return std::to_string(ranges) + " record locks (fcntl); " + std::to_string(kLockRangesMax) +
           " of a file can be moved";
  }
  if (locks.delegation) return "a delegation (fcntl), which only this machine's kernel can keep";
  return {};
}

}  // namespace ssi::fds
