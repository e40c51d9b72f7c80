// What a guest waits for that shares the reading end of a pipe with processes at its home (a script
// on a shell's standard input, for one), or a terminal: not a byte may be taken from such a one
// that the guest does not ask for. The kernel tells nobody that somebody waits on a pipe, so the
// guest's threads are looked at: often while it reads, every 50 ms while it does something else,
// not at all if there is no such guest.
//
// Control loop only; what fails is tried again.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "ssid/daemon/guest_record.h"

namespace ssi {

// A line of /proc/PID/task/TID/syscall: what the thread is blocked in. Pure.
struct BlockedCall {
  long number = -1;
  std::uint64_t arguments[6] = {};
};
std::optional<BlockedCall> parse_blocked_call(std::string_view line);

// Whether a process waits for bytes of that pipe or terminal at this moment.
struct PipeWish {
  std::uint64_t bytes = 0;     // what its read() asks for, or some if it polls; 0: it does not wait
  std::uint64_t activity = 0;  // how often its threads were given a CPU so far
};
// `key`: stream_key() of the pipe or terminal.
PipeWish pipe_wish(pid_t pid, const std::string& key);

class PipeDemand {
 public:
  struct Guest {
    std::vector<pid_t> pids;                  // in this node's /proc
    std::vector<migrate::StreamRef> streams;  // those that are on demand
  };
  PipeDemand(boost::asio::io_context& io, std::function<std::vector<Guest>()> guests,
             std::function<void(const migrate::StreamRef&, std::uint64_t bytes)> demand);

  // There may be guests to look at (again).
  void wake();

 private:
  void look();

  std::function<std::vector<Guest>()> guests_;
  std::function<void(const migrate::StreamRef&, std::uint64_t bytes)> demand_;
  boost::asio::steady_timer timer_;
  bool running_ = false;
  std::chrono::milliseconds pause_{0};
  std::map<std::uint64_t, std::uint64_t> activity_;  // of each stream's guest, as of the last look
};

}  // namespace ssi
