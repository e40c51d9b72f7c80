// Named pipes. The kernel keeps the bytes of one in the machine where it is opened, whatever file
// system its name is in. So who has one end of it keeps that end by a stream, as of a pipe without
// a name (migrate/streams); from then on it is one to the process, too. Who has both ends of one
// that nobody can open any more takes it along. Pure: which way, if any.
#pragma once

#include <string>

namespace ssi::fds {

struct Fifo {
  bool both_ends_inside = false;  // the process can read and write it
  bool nameless = false;          // deleted
  bool held_by_others = false;
};

enum class FifoWay { kStream, kTakeAlong, kStays };
FifoWay way_of(const Fifo& fifo);

// What keeps one at home; "" if nothing does.
std::string why_fifo_stays(const Fifo& fifo);

}  // namespace ssi::fds
