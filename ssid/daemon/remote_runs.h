// Processes that asked to go to another node before they become a command (`runon`): moves them,
// again and again while there is no room, and tells them when to look where they are.
//
// Owned by the daemon; control loop only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "ssid/daemon/process_control.h"

namespace ssi {

class RemoteRuns {
 public:
  RemoteRuns(boost::asio::io_context& io, ProcessControl& control) : io_(io), control_(control) {}

  // `process` is of this node and alone in itself by now.
  void start(ProcessHandle process, NodeId home, NodeId to);
  // How it went: kBusy: it is still under way. kFailed and others: why it is still here. Said once.
  Result<> outcome(pid_t pid);

 private:
  struct Run {
    ProcessHandle process;
    SsiPid pid;
    NodeId to;
    std::chrono::steady_clock::time_point deadline;
    std::unique_ptr<boost::asio::steady_timer> again;
    std::optional<Error> failure;
  };
  void try_once(pid_t pid);
  void ended(pid_t pid, Result<migrate::MoveReport> report);

  boost::asio::io_context& io_;
  ProcessControl& control_;
  std::map<pid_t, Run> runs_;
};

}  // namespace ssi
