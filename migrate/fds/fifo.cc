#include "migrate/fds/fifo.h"

namespace ssi::fds {

FifoWay way_of(const Fifo& fifo) {
  if (fifo.nameless && !fifo.held_by_others) return FifoWay::kTakeAlong;
  return fifo.both_ends_inside ? FifoWay::kStays : FifoWay::kStream;
}

std::string why_fifo_stays(const Fifo& fifo) {
  if (way_of(fifo) != FifoWay::kStays) return {};
  return "a named pipe that it can read and write, as can others at home";
}

}  // namespace ssi::fds
