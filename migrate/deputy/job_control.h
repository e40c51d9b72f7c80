// Keeps a guest and its deputy stopped or running together, so that job control at home works:
// pure.
//
// Stops come from two sides. The guest stops over there (Ctrl-Z was forwarded to it, or it stopped
// itself): its deputy must stop by the same signal, for the parent to see it. Or somebody stops the
// deputy here (kill -STOP): the guest must stop. Each stop so caused is reported back by the other
// side and must not be answered again. SIGCONT reaches the deputy as a signal that it forwards;
// only a guest continued from within its realm needs the deputy to be continued.
//
// One for each guest, at home; owner and thread: whoever handles the guest's events, in the order
// they come. What may go wrong: SIGSTOP and SIGCONT from both sides within a few milliseconds may
// show the parent one stop and continue more than a single process would; the end state is right.
#pragma once

#include <optional>

#include "migrate/deputy/deputy_protocol.h"

namespace ssi::deputy {

class JobControl {
 public:
  enum class Act {
    kStopDeputy,      // send it Stop{signo}
    kContinueDeputy,  // continue_deputy()
    kStopGuest,       // kill(guest, SIGSTOP)
    kContinueGuest,   // kill(guest, SIGCONT)
  };
  struct Action {
    Act act;
    int signo = 0;  // kStopDeputy
    bool operator==(const Action&) const = default;
  };

  std::optional<Action> on_guest_stopped(int signo);  // as wait tells its parent in the realm
  std::optional<Action> on_guest_continued();
  // From StopWatcher; `stopped_now` is is_stopped() asked at this moment, as the report may be
  // late.
  std::optional<Action> on_deputy_stopped(bool stopped_now);
  void on_deputy_continued();
  std::optional<Action> on_stop_ended(const StopEnded& ended);
  void on_signal(const Signal& signal);  // forwarded by the caller in any case

 private:
  bool asked_ = false;           // Stop was sent, StopEnded has not come
  bool deputy_stopped_ = false;  // by somebody else
  bool stop_expected_ = false;   // we sent SIGSTOP to the guest and have not heard of it
};

}  // namespace ssi::deputy
