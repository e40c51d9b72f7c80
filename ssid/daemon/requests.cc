#include "ssid/daemon/requests.h"

#include <boost/asio/post.hpp>

namespace ssi {
using nlohmann::json;

void Requests::ask(NodeId to, const std::string& op, const json& args, std::uint32_t uid,
                   std::chrono::milliseconds timeout, Done done) {
  const std::uint64_t id = next_id_++;
  group::Request r;
  r.id = id;
  r.from = group_.self();
  r.to = to;
  r.op = op;
  r.json = args.dump(-1, ' ', false, json::error_handler_t::replace);
  r.uid = uid;
  Result<> sent = group_.view().has(to)
                      ? group_.broadcast(r)
                      : Result<>(Error("node " + std::to_string(to.value) + " is not up"));
  if (!sent) {
    boost::asio::post(io_, [done, error = sent.error()] { done(error); });
    return;
  }
  auto timer = std::make_unique<boost::asio::steady_timer>(io_, timeout);
  timer->async_wait([this, id, to](boost::system::error_code ec) {
    if (ec) return;
    finish(id, Error(ErrorCode::kTimeout, "node " + std::to_string(to.value) + " does not answer"));
  });
  open_.emplace(id, Open{to, std::move(done), std::move(timer)});
}

void Requests::finish(std::uint64_t id, Result<json> result) {
  const auto it = open_.find(id);
  if (it == open_.end()) return;
  const Done done = std::move(it->second.done);
  open_.erase(it);
  done(std::move(result));
}

void Requests::on_request(const group::Request& request) {
  if (request.to && request.to != group_.self()) return;
  serve_(request, [this, id = request.id, from = request.from](Result<json> result) {
    if (id == 0) return;  // nobody waits
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

void Requests::on_reply(const group::Reply& reply) {
  if (reply.to != group_.self()) return;
  if (reply.code != 0) {
    const auto code = reply.code <= 1 + static_cast<std::int32_t>(kErrorCodeMax)
                          ? static_cast<ErrorCode>(reply.code - 1)
                          : ErrorCode::kFailed;
    return finish(reply.id, Error(code, reply.error));
  }
  json answer = json::parse(reply.json, nullptr, false);
  finish(reply.id,
         answer.is_discarded() ? Result<json>(Error("a damaged answer")) : Result<json>(answer));
}

void Requests::on_left(NodeId node) {
  std::vector<std::uint64_t> gone;
  for (const auto& [id, open] : open_) {
    if (open.to == node) gone.push_back(id);
  }
  for (const std::uint64_t id : gone) {
    finish(id, Error("node " + std::to_string(node.value) + " has left the cluster"));
  }
}

}  // namespace ssi
