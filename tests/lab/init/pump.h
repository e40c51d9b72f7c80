// Carries bytes from one descriptor to another without ever blocking its caller on the way in:
// lab-enter stands between what a node must not hold (files and terminals of the machine) and a
// pipe it may. One thread; both descriptors stay their owners' unless handed over by
// `own_from`/`own_to`.
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>

#include "ssid/base/unique_fd.h"

namespace ssi::lab {

class Pump {
 public:
  // `to` may be blocking (a file, a terminal) or not; `from` is only read when poll says so.
  Pump(int from, int to) : from_(from), to_(to) {}

  bool done() const { return done_; }
  // What to poll for; fd -1 when done.
  pollfd wanted() const;
  // One step after poll; true if it moved something or ended. On the end of either side it is done.
  bool step(short revents);
  // The caller closes its end of the pipe when done: the reader sees end of file.

 private:
  bool flush();

  int from_;
  int to_;
  bool done_ = false;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::array<char, 65536> buffer_;
};

}  // namespace ssi::lab
