#include "migrate/move/ticket.h"

namespace ssi::migrate {

const char* to_string(MoveStep step) {
  switch (step) {
    case MoveStep::kCheck:
      return "check";
    case MoveStep::kFreeze:
      return "freeze";
    case MoveStep::kDump:
      return "dump";
    case MoveStep::kSend:
      return "send";
    case MoveStep::kRestore:
      return "restore";
    case MoveStep::kCommit:
      return "commit";
    case MoveStep::kDone:
      return "done";
  }
  return "?";
}

}  // namespace ssi::migrate
