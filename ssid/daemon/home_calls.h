// Guests that are needed at their home: they are moved there, again and again, ever more rarely,
// until they are there or over. Owned by the daemon; control loop only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

class HomeCalls {
 public:
  struct Handlers {
    std::function<bool(SsiPid)> is_away;
    // `again`: it was tried before.
    std::function<void(SsiPid, bool again, std::function<void(Result<>)> done)> move_home;
    // Once for each call; and why it does not come, if that lasts.
    std::function<void(SsiPid, const std::string& what)> tell;
  };
  HomeCalls(boost::asio::io_context& io, Handlers handlers,
            std::chrono::milliseconds first_pause = std::chrono::milliseconds(250))
      : io_(io), handlers_(std::move(handlers)), first_pause_(first_pause) {}

  // Nothing if it is here, or is being called.
  void call(SsiPid pid, const std::string& why);
  // Somebody has come: who is here now is not called any more, wherever it goes next.
  void on_moved();

 private:
  struct Called {
    int tries = 0;
    std::string hindrance;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };
  void try_once(SsiPid pid);
  void tried(SsiPid pid, const Result<>& result);

  boost::asio::io_context& io_;
  const Handlers handlers_;
  const std::chrono::milliseconds first_pause_;
  std::map<SsiPid, Called> called_;
};

}  // namespace ssi
