// May this process move, and what moves with it? What only this node can say, without touching it.
// Any thread; milliseconds.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "migrate/check/proc_dir.h"
#include "migrate/check/tree.h"
#include "ssid/base/result.h"

namespace ssi {

// The processes below the one that moves. kStays: they may not be there, but those that share
// memory with it, which move along.
enum class Below : std::uint8_t { kStays, kMovesAlong };

// It, and what moves along, seen as one. kRefused with every reason; kBusy with one that passes.
Result<check::Tree> movable(pid_t pid, Below below, bool is_guest);

// What `look` finds at the tree below `root`. If that changed meanwhile its parts were not seen at
// one moment, and what it is refused for may have passed already: kBusy.
template <typename Look>
auto at_rest(pid_t root, Look look) -> decltype(look()) {
  const auto before = check::pids_of_tree(root);
  auto found = look();
  if (found || found.error().code() != ErrorCode::kRefused) return found;
  if (check::pids_of_tree(root) == before) return found;
  return Error(ErrorCode::kBusy, found.error().message());
}

}  // namespace ssi
