// Named pipes at home that guests have taken along (migrate/fds/fifo.h). Their deputies keep them
// open, and empty: what is in them is where the guest is. So whoever opens one here, or has written
// to one, needs the guest here, and calls it home.
//
// The kernel tells who watches a file (inotify) that it was opened, even if it is closed by then.
// Control loop only.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "migrate/fds/duplex_fifo.h"
#include "ssid/base/result.h"

namespace ssi {

class TakenFifos {
 public:
  using Clock = std::chrono::steady_clock;
  using Called = std::function<void(pid_t deputy, const std::string& fifo)>;
  // `called`: from the loop, as often as somebody opens one.
  static Result<std::unique_ptr<TakenFifos>> create(boost::asio::io_context& io, Called called);

  // Their guests have gone: they are deputies now, or were before. Watches what they keep. Calls if
  // somebody else has opened it since then: when the guests were frozen nobody had.
  void watch(const std::vector<pid_t>& deputies, Clock::time_point since);
  // Calls if somebody else has one of theirs open, or has written to it.
  void look_again(const std::set<pid_t>& deputies);
  void forget(pid_t deputy);

 private:
  struct Watched {
    std::string path;
    std::set<pid_t> deputies;
    Clock::time_point opened{};  // lately
  };
  TakenFifos(boost::asio::io_context& io, int inotify, Called called);
  struct Kept {
    pid_t deputy;
    fds::DuplexFifo fifo;
  };
  // Whether nobody has seen until now who opens it.
  bool watch_one(const Kept& kept, Clock::time_point since);
  void call_if_used(const std::vector<Kept>& all, const std::set<pid_t>& deputies);
  void read_next();
  bool take_events();  // a batch; false: there was none
  void opened(int number);

  Called called_;
  boost::asio::posix::stream_descriptor inotify_;
  std::map<int, Watched> watched_;  // by the watch's number
};

}  // namespace ssi
