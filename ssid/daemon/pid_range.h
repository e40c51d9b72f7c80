// This node's PIDs come from its own range (node n: n*65536 ..), so that a PID names one process in
// the whole cluster. The kernel's allocator is set to the range, and put back when it leaves it:
// after its end it would wrap to 300. Control loop only. What may go wrong: a kernel whose pid_max
// can't be raised so far.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

class PidRange {
 public:
  PidRange(boost::asio::io_context& io, NodeId self) : self_(self), timer_(io) {}
  Result<> start();

 private:
  Result<> put_back();
  void watch();

  NodeId self_;
  boost::asio::steady_timer timer_;
};

// Pure: what to set the last PID to, given what it is; -1: it is well in the range.
std::int32_t last_pid_for(NodeId node, std::int32_t last_pid);

}  // namespace ssi
