// The deputies of this node: their connections, their deaths and their stops. What happens to a
// deputy goes to the guest (on_signal, on_killed, on_stopped), what happens to the guest goes to
// the deputy (finish, stop, go_on).
//
// Owned by the daemon; control loop only, but for the stop watcher's own thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "migrate/deputy/deputy_host.h"
#include "migrate/deputy/job_control.h"
#include "migrate/deputy/stop_watcher.h"
#include "ssid/base/process_handle.h"

namespace ssi {

class Deputies {
 public:
  struct Handlers {
    // To be passed to the guest.
    std::function<void(pid_t, const deputy::Signal&)> on_signal;
    // The deputy was killed (SIGKILL can't be caught): so is the guest.
    std::function<void(pid_t)> on_killed;
    // It is over, however.
    std::function<void(pid_t)> on_gone;
    // An unknown deputy says hello: how its process ended (as from waitpid), if that is known.
    // nullopt and known=true: its guest lives. `born_with`: deputy::Hello.
    struct Fate {
      bool known = false;
      std::optional<int> wait_status;
    };
    std::function<Fate(pid_t, pid_t born_with)> fate_of;
  };

  Deputies(boost::asio::io_context& io, Handlers handlers);
  ~Deputies();

  Result<> listen(const std::string& socket_path);

  // `pid` is a deputy now (or was one under an earlier ssid): watch it.
  void adopt(pid_t pid);
  bool has(pid_t pid) const { return deputies_.contains(pid); }
  // Its guest ended so; the deputy ends the same way as soon as it hears of it.
  void finish(pid_t pid, int wait_status);
  // `forker` makes one more, which is adopted. Done when that one has said hello, or an error.
  void give_birth(pid_t forker, const deputy::Birth& birth, std::function<void(Result<>)> done);
  // Its guest was stopped, or continued, where it runs.
  void stop(pid_t pid, int signo);
  void go_on(pid_t pid);

 private:
  struct Deputy;
  struct Connection;
  struct Birth;

  void accept_next();
  void read_next(const std::shared_ptr<Connection>& connection);
  void on_message(const std::shared_ptr<Connection>& connection, const deputy::FromDeputy& message);
  void on_hello(const std::shared_ptr<Connection>& connection, pid_t born_with);
  void watch(pid_t pid, std::optional<int> outcome);
  void birth_over(pid_t pid, Result<> how);
  void deliver_outcome(Deputy& d);
  void act(Deputy& d, std::optional<deputy::JobControl::Action> action);
  void wait_for_death(pid_t pid);
  void wait_for_stops();
  void forget(pid_t pid);

  boost::asio::io_context& io_;
  Handlers handlers_;
  deputy::StopWatcher watcher_;
  boost::asio::posix::stream_descriptor stops_;
  boost::asio::posix::stream_descriptor listener_;
  std::map<pid_t, std::unique_ptr<Deputy>> deputies_;
  std::map<pid_t, std::unique_ptr<Birth>> births_;  // asked for, not there yet
};

}  // namespace ssi
