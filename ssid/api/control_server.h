// The control socket: commands and other programs ask ssid here.
//
//     ControlServer::Options options{.path = "/run/ssid/ssid.sock"};
//     auto server = ControlServer::start(io, options, std::move(table), gate);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "ssid/api/op_table.h"
#include "ssid/base/result.h"
#include "ssid/wire/api_message.h"

namespace boost::asio {
class io_context;
}

namespace ssi {

class ControlConnection;

struct ControlServerOptions {
  std::string path;
  mode_t mode = 0666;  // anyone may connect; who it is decides what it may
  int connections_max = 256;
  int connections_max_per_uid = 32;  // root: only the total, of which the last ones are kept for it
  int connections_kept_for_root = 32;
  std::int64_t idle_ms_max = 30'000;  // no request begun, or not finished, for so long
  std::size_t unsent_bytes_max =
      32u << 20;  // per connection: a listener that does not listen is closed
};

// Role: accepts connections, learns from the kernel who it is, cuts out frames, checks them, asks
// the gate, calls the op's handler, sends replies. A connection has one request at a time. Owned by
// the composition root; lives on the io_context's one thread (Responders may be used from any,
// while the io_context lives). What may go wrong: garbage, floods, silence, askers that go away:
// their connection is closed, nobody else notices.
class ControlServer {
 public:
  using Options = ControlServerOptions;

  static Result<std::unique_ptr<ControlServer>> start(boost::asio::io_context& io, Options options,
                                                      OpTable table, OpGate gate);
  // Closes everything; requests under way are cancelled. On the io_context's thread, or when it has
  // stopped.
  ~ControlServer();

  std::size_t connections() const;

 private:
  friend class ControlConnection;
  struct Impl;
  explicit ControlServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace ssi
