#include "migrate/fds/process_locks.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace ssi::fds {
namespace {

HeldLocks locks_in_kernel(pid_t pid, int number) {
  std::ostringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/fdinfo/" + std::to_string(number))
              .rdbuf();
  return parse_locks(text.str());
}

}  // namespace

bool has_all(std::vector<LockRange> held, const std::vector<LockRange>& wanted) {
  std::ranges::sort(held, {}, &LockRange::start);
  std::vector<LockRange> merged;
  for (const LockRange& range : held) {
    const bool joins =
        !merged.empty() && merged.back().type == range.type && merged.back().end + 1 == range.start;
    if (joins) {
      merged.back().end = range.end;
    } else {
      merged.push_back(range);
    }
  }
  return std::ranges::all_of(wanted, [&](const LockRange& want) {
    return std::ranges::any_of(merged, [&](const LockRange& has) {
      return has.type == want.type && has.start <= want.start && has.end >= want.end;
    });
  });
}

Result<> check_process_locks(pid_t pid, const HeldFile& wanted, bool at_home) {
  const HeldLocks held =
      at_home ? locks_in_kernel(pid, wanted.number) : locks_in_view(pid, wanted.number, false);
  if (has_all(held.of_process, wanted.locks)) return {};
  return Error("it did not get the record locks of descriptor " + std::to_string(wanted.number) +
               " (" + wanted.name + ") back");
}

}  // namespace ssi::fds
