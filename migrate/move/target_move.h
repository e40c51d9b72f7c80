// The target's half of a move: takes the images into memory, rebuilds the process in the realm,
// holds it frozen, and lets it run when the commit was delivered. Runs in a worker thread of its
// own.
#pragma once

#include "migrate/move/environment.h"
#include "migrate/move/move_codec.h"
#include "migrate/move/move_link.h"

namespace ssi::migrate {

// `offer` was received from the link and is this node's to decide about: the realm is made here and
// the answer is sent. Returns when the process runs here, or nothing of it is left here.
Result<> run_target_move(MoveEnvironment& env, MoveLink& link, const Offer& offer);

// First message of an incoming link.
Result<Offer> receive_offer(MoveLink& link);
Result<> refuse_offer(MoveLink& link, const std::string& reason);

}  // namespace ssi::migrate
