// May this process move, and what moves with it? What only this node can say, without touching it.
// Any thread; milliseconds.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "migrate/check/tree.h"
#include "ssid/base/result.h"

namespace ssi {

// The processes below the one that moves. kStays: they may not be there, but those that share
// memory with it, which move along.
enum class Below : std::uint8_t { kStays, kMovesAlong };

// It, and what moves along, seen as one. kRefused with every reason; kBusy with one that passes.
Result<check::Tree> movable(pid_t pid, Below below, bool is_guest);

}  // namespace ssi
