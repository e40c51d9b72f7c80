// Closes and opens nodes for guests: proposes it to the group, and tells who asked what was
// decided. What being drained means for a node is the balancer's and the planner's.
//
// Owned by the daemon; control loop only. What may go wrong: kNoQuorum, nothing has changed;
// kTimeout, it is not known yet, for the cluster is falling apart or coming together.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <list>

#include "ssid/daemon/process_control.h"

namespace ssi {

class DrainControl {
 public:
  using Done = std::function<void(Result<>)>;

  DrainControl(boost::asio::io_context& io, GroupPort& group,
               std::chrono::milliseconds timeout = std::chrono::seconds(10))
      : io_(io), group_(group), timeout_(timeout) {}

  // `done` is called once, later; when it says yes, this node's table has it.
  void set_drained(NodeId node, bool drained, Done done);
  void on_event(const TableReplica::Event& event);

 private:
  struct Asked {
    NodeId node;
    bool drained;
    Done done;
    boost::asio::steady_timer timer;
  };
  using AskedList = std::list<Asked>;
  void finish(AskedList::iterator asked, Result<> result);

  boost::asio::io_context& io_;
  GroupPort& group_;
  const std::chrono::milliseconds timeout_;
  AskedList asked_;  // oldest first
};

}  // namespace ssi
