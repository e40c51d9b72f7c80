// The source's half of a move: freeze, dump, send; then wait for the target's restore, commit,
// stand down. Runs in a worker thread of its own, as straight-line code; every failure before the
// commit ends with the process going on here.
#pragma once

#include <functional>
#include <optional>

#include "migrate/move/environment.h"
#include "migrate/move/move_link.h"
#include "migrate/move/ticket.h"

namespace ssi::migrate {

// Where the process is before the move.
struct MoveSource {
  pid_t host_pid = 0;              // in ssid's own PID namespace
  std::optional<CopyName> guest;   // set: it lives in guests/NAME of this node's realm
  std::string realm_socket;        // of that realm
  std::vector<StreamRef> streams;  // as they are named, and attached, on this node
  std::vector<std::pair<StreamRef, int>>
      to_export;  // first move: descriptor numbers in the original
  // Called when it is frozen: is it still what was checked and what `streams` say?
  std::function<Result<>()> check_again;
};

// Sends the offer over a fresh link and waits for the answer: the target has made its realm ready.
// Nothing has happened to the process yet. kBusy: the target does not want it now.
Result<> offer_move(MoveLink& link, const MoveTicket& ticket, const MoveSource& source);

// The rest. `ticket.from` is this node. kRefused: it can't be moved so; kFailed: the cluster did
// not take the move, which is nobody's fault.
Result<MoveReport> run_source_move(MoveEnvironment& env, MoveLink& link, const MoveTicket& ticket,
                                   const MoveSource& source);

}  // namespace ssi::migrate
