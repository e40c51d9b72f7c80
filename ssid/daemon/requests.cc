#include "ssid/daemon/requests.h"

#include <boost/asio/post.hpp>

namespace ssi {
using nlohmann::json;

void Requests::ask(NodeId to, const std::string& op, const json& args, std::uint32_t uid,
                   std::chrono::milliseconds timeout, Done done) {
  group::Request r;
  r.to = to;
  r.op = op;
  r.json = args.dump(-1, ' ', false, json::error_handler_t::replace);
  r.uid = uid;
  if (!group_.view().has(to)) {
    boost::asio::post(
        io_, [done, to] { done(Error("node " + std::to_string(to.value) + " is not up")); });
    return;
  }
  send(std::move(r), {to}, timeout,
       [done, to](Answers answers) { done(std::move(answers.at(to))); });
}

void Requests::ask_all(const std::string& op, std::string payload, std::uint32_t uid,
                       std::chrono::milliseconds timeout, std::function<void(Answers)> done) {
  group::Request r;  // to nobody alone
  r.op = op;
  r.json = std::move(payload);
  r.uid = uid;
  const auto& members = group_.view().members;
  send(std::move(r), {members.begin(), members.end()}, timeout, std::move(done));
}

void Requests::send(group::Request request, std::set<NodeId> to, std::chrono::milliseconds timeout,
                    std::function<void(Answers)> done) {
  const std::uint64_t id = next_id_++;
  request.id = id;
  request.from = group_.self();
  const auto sent = to.empty() ? Result<>() : group_.broadcast(request);
  if (!sent || to.empty()) {
    Answers failed;
    for (const NodeId node : to) failed.emplace(node, sent.error());
    boost::asio::post(io_, [done = std::move(done), failed = std::move(failed)] { done(failed); });
    return;
  }
  auto timer = std::make_unique<boost::asio::steady_timer>(io_, timeout);
  timer->async_wait([this, id](boost::system::error_code ec) {
    const auto it = open_.find(id);
    if (ec || it == open_.end()) return;
    const std::set<NodeId> silent = it->second.awaited;
    for (const NodeId node : silent) {
      answered(
          id, node,
          Error(ErrorCode::kTimeout, "node " + std::to_string(node.value) + " does not answer"));
    }
  });
  open_.emplace(id, Open{std::move(to), {}, std::move(done), std::move(timer)});
}

void Requests::answered(std::uint64_t id, NodeId node, Result<json> answer) {
  const auto it = open_.find(id);
  if (it == open_.end() || it->second.awaited.erase(node) == 0) return;
  it->second.answers.insert_or_assign(node, std::move(answer));
  if (!it->second.awaited.empty()) return;
  Open over = std::move(it->second);
  open_.erase(it);
  over.done(std::move(over.answers));
}

void Requests::on_request(const group::Request& request) {
  if (request.to && request.to != group_.self()) return;
  serve_(request, [this, id = request.id, from = request.from](Result<json> result) {
    if (id == 0) return;  // nobody waits
    if (from == group_.self()) return answered(id, from, std::move(result));
    group::Reply reply;
    reply.id = id;
    reply.to = from;
    if (result) {
      reply.json = result->dump(-1, ' ', false, json::error_handler_t::replace);
    } else {
      reply.code = 1 + static_cast<std::int32_t>(result.error().code());
      reply.error = result.error().message();
    }
    (void)group_.broadcast(reply);
  });
}

void Requests::on_reply(NodeId from, const group::Reply& reply) {
  if (reply.to != group_.self()) return;
  if (reply.code != 0) {
    const auto code = reply.code > 0 && reply.code <= 1 + static_cast<std::int32_t>(kErrorCodeMax)
                          ? static_cast<ErrorCode>(reply.code - 1)
                          : ErrorCode::kFailed;
    return answered(reply.id, from, Error(code, reply.error));
  }
  json answer = json::parse(reply.json, nullptr, false);
  answered(reply.id, from,
           answer.is_discarded() ? Result<json>(Error("a damaged answer")) : Result<json>(answer));
}

void Requests::on_left(NodeId node) {
  std::vector<std::uint64_t> open;
  for (const auto& [id, one] : open_) open.push_back(id);
  for (const std::uint64_t id : open) {
    answered(id, node, Error("node " + std::to_string(node.value) + " has left the cluster"));
  }
}

}  // namespace ssi
