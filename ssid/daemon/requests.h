// Questions from one ssid to another, by messages of the group: the answer to a command whose
// process is on another node. Control loop only. What may go wrong: the other node leaves (kFailed
// at once) or is silent (kTimeout).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "ssid/daemon/process_control.h"

namespace ssi {

class Requests {
 public:
  using Done = std::function<void(Result<nlohmann::json>)>;
  // Answers a request of another node.
  using Serve = std::function<void(const group::Request&, Done)>;

  Requests(boost::asio::io_context& io, GroupPort& group, Serve serve)
      : io_(io), group_(group), serve_(std::move(serve)) {}

  void ask(NodeId to, const std::string& op, const nlohmann::json& args, std::uint32_t uid,
           std::chrono::milliseconds timeout, Done done);

  void on_request(const group::Request& request);
  void on_reply(const group::Reply& reply);
  void on_left(NodeId node);

 private:
  struct Open {
    NodeId to;
    Done done;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };
  void finish(std::uint64_t id, Result<nlohmann::json> result);

  boost::asio::io_context& io_;
  GroupPort& group_;
  Serve serve_;
  std::map<std::uint64_t, Open> open_;
  std::uint64_t next_id_ = 1;
};

}  // namespace ssi
