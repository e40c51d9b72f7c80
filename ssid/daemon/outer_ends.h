// What a process or tree that is to move has open to others who stay, and the streams that stand
// for it afterwards. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "migrate/check/tree.h"
#include "migrate/move/ticket.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

// Pipes and unix sockets whose other end is outside, and terminals, by their keys: one whatever
// number of descriptors, or processes, have it.
struct OuterEnd {
  const check::FdFact* fd = nullptr;
  pid_t holder = 0;
};
using OuterEnds = std::map<std::string, OuterEnd>;
// They point into `tree`.
OuterEnds outer_ends(const check::Tree& tree);

// A duplicate. kBusy: its holder has just ended.
Result<UniqueFd> taken(const OuterEnd& end);
// kBusy
Error just_ended(pid_t pid);

// A terminal that is open as /dev/tty, too; else empty.
std::string also_key(const check::Tree& tree, const std::string& key);
// Of all of them, with those.
std::set<std::string> keys(const check::Tree& tree);
// Of connections by unix sockets with somebody at home.
std::set<std::string> keys_of_connections(const check::Tree& tree);

std::uint64_t random_id();

// The streams of one, new ones. `held`: that descriptor, or a duplicate.
std::vector<migrate::StreamRef> streams_of(const check::FdFact& fd, int held);

}  // namespace ssi
