// The control socket of ssid-carrier: root only, a thread per connection (calls may block for
// long), one request and one reply at a time. Owned by main(). What may go wrong: a caller sends
// rubbish and is told so.
#pragma once

#include <atomic>
#include <list>
#include <thread>

#include "ssid/carrier/carrier.h"
#include "ssid/wire/unix_socket.h"

namespace ssi {

class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Carrier& carrier);
  ~ControlServer();

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
    std::atomic<bool> done{false};
  };

  ControlServer(UnixListener listener, Carrier& carrier);
  void accept_loop();
  void serve(int socket);
  // The reply to one request; `fd` is to go with it.
  CarrierBytes answer(UnixMessage& request, UniqueFd& fd);

  UnixListener listener_;
  Carrier& carrier_;
  std::atomic<bool> stopping_{false};
  std::list<Connection> connections_;  // accept thread only, and the destructor after it
  std::thread accept_thread_;
};

}  // namespace ssi
