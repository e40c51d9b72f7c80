// Tells home that a guest has stopped, or goes on: in the order in which it happened, and a stop
// only when what the guest did to its terminal before is done there. Else the shell would have its
// terminal back as an editor had set it.
//
// Control loop only; waits in threads of its own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>

#include "ssid/daemon/guest_record.h"

namespace ssi {

class StopReports {
 public:
  struct Handlers {
    // In a thread: blocks until what the guest wrote there is at home, or for some time.
    std::function<void(const migrate::StreamRef&)> flush;
    std::function<void(const GuestRecord&, int signo)> tell_stopped;
    std::function<void(const GuestRecord&)> tell_continued;
  };
  StopReports(boost::asio::io_context& io, Handlers handlers)
      : io_(io), handlers_(std::move(handlers)) {}

  void stopped(const GuestRecord& record, int signo);
  void continued(const GuestRecord& record);

 private:
  void flushed(const GuestRecord& record, int signo);

  boost::asio::io_context& io_;
  Handlers handlers_;
  std::map<SsiPid, bool> waiting_;  // for the output of these; true: it has been continued since
};

}  // namespace ssi
