// ProcessControl and signals: from a deputy, or a command, to the guest wherever it runs.
#include <signal.h>

#include <boost/asio/post.hpp>
#include <thread>

#include "ssid/base/log.h"
#include "ssid/daemon/process_control.h"

namespace ssi {
namespace asio = boost::asio;

void ProcessControl::signal(SsiPid pid, int signo) {
  to_guest({.process = pid, .epoch = {}, .signo = signo});
}

// To wherever it runs.
void ProcessControl::to_guest(group::Signal signal) {
  const auto entry = group_.find(signal.process);
  if (!entry) return;
  signal.epoch = entry->epoch;
  if (entry->where == group_.self()) return on_signal(signal);
  (void)group_.broadcast(signal);
}

void ProcessControl::on_signal(const group::Signal& signal) {
  const GuestRecord* record = guests_.find_with(signal.process);
  if (record == nullptr) return;
  // What a terminal sends comes by the tree's first process, for all that are in the foreground.
  const SsiPid first = record->ticket.pid;
  if (signal.by_terminal && signal.process != first && !record->over.contains(first.pid)) return;
  // What comes while the copy here may be the old one waits for the outcome; it is frozen anyway.
  // A SIGKILL must not wait for a move that hangs, and has to reach the new copy if there is one.
  if (moves_.is_moving(first)) {
    held_signals_[first].push_back(signal);
    if (signal.signo != SIGKILL) return;
  }
  if (signal.signo == SIGWINCH || signal.signo == SIGCONT) {
    for (const auto& s : record->streams) {
      if (s.terminal != 0 && !s.write_end) return signal_after_refresh(signal, s);
    }
  }
  deliver(signal);
}

void ProcessControl::deliver(const group::Signal& signal) {
  const SsiPid pid = signal.process;
  const GuestRecord* record = guests_.find_with(pid);
  // Of a tree each has a deputy, and gets by it what a shell sends to all.
  const bool alone = record != nullptr && record->ticket.members.empty();
  const auto sent = signal.by_terminal         ? guests_.signal_job(pid, signal.signo)
                    : signal.to_group && alone ? guests_.signal_group(pid, signal.signo)
                                               : guests_.signal(pid, signal.signo);
  if (!sent) {
    log_debug("signal {} for {}: {}", signal.signo, pid.to_string(), sent.error().message());
  }
}

// It will look at its terminal, which has another size, or settings that others have changed.
void ProcessControl::signal_after_refresh(const group::Signal& signal,
                                          const migrate::StreamRef& terminal) {
  std::thread([this, signal, terminal] {
    streams_.refresh_terminal(terminal);
    asio::post(io_, [this, signal] { deliver(signal); });
  }).detach();
}

}  // namespace ssi
