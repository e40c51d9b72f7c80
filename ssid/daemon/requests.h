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
#include <set>
#include <string>

#include "ssid/daemon/process_control.h"

namespace ssi {

class Requests {
 public:
  using Done = std::function<void(Result<nlohmann::json>)>;
  using Answers = std::map<NodeId, Result<nlohmann::json>>;
  // Answers a request of another node.
  using Serve = std::function<void(const group::Request&, Done)>;

  Requests(boost::asio::io_context& io, GroupPort& group, Serve serve)
      : io_(io), group_(group), serve_(std::move(serve)) {}

  void ask(NodeId to, const std::string& op, const nlohmann::json& args, std::uint32_t uid,
           std::chrono::milliseconds timeout, Done done);
  // Every member, this node too, by one message: each answers at the same place of the group's
  // order. `payload` is handed over as it is. `done` gets an answer or an error for each; nothing
  // at all while this node is a member of nothing.
  void ask_all(const std::string& op, std::string payload, std::uint32_t uid,
               std::chrono::milliseconds timeout, std::function<void(Answers)> done);

  void on_request(const group::Request& request);
  void on_reply(NodeId from, const group::Reply& reply);
  void on_left(NodeId node);

 private:
  struct Open {
    std::set<NodeId> awaited;
    Answers answers;
    std::function<void(Answers)> done;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };
  void send(group::Request request, std::set<NodeId> to, std::chrono::milliseconds timeout,
            std::function<void(Answers)> done);
  void answered(std::uint64_t id, NodeId node, Result<nlohmann::json> answer);

  boost::asio::io_context& io_;
  GroupPort& group_;
  Serve serve_;
  std::map<std::uint64_t, Open> open_;
  std::uint64_t next_id_ = 1;
};

}  // namespace ssi
