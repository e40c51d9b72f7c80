#include "ssid/api/op_call.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

namespace ssi {
namespace {

using nlohmann::json;

void call_handler(const OpGate& gate, const Op& op, std::shared_ptr<const Caller> caller, json args,
                  const std::shared_ptr<Responder>& responder) {
  if (op.needs_quorum && !gate.has_quorum())
    return responder->error(Error(ErrorCode::kNoQuorum, "no quorum: nothing may be changed now"));
  try {
    op.handler(std::move(caller), std::move(args), responder);
  } catch (const json::exception& wrong) {
    // An argument that is not there or of another type: the handler asked for it with at() or
    // get().
    responder->error(Error(ErrorCode::kUsage, op.name + ": " + wrong.what()));
  }
}

}  // namespace

void call_op(boost::asio::io_context& io, const OpGate& gate, const Op& op,
             std::shared_ptr<const Caller> caller, json args,
             std::shared_ptr<Responder> responder) {
  const bool is_root = caller->uid == 0;
  if (op.privilege == Privilege::kRoot && !is_root)
    return responder->error(Error(ErrorCode::kDenied, "only root may do that"));
  if (op.privilege != Privilege::kOwnerOfPid)
    return call_handler(gate, op, std::move(caller), std::move(args), responder);
  auto pid = pid_argument(args);
  if (!pid) return responder->error(pid.error());
  if (is_root) return call_handler(gate, op, std::move(caller), std::move(args), responder);
  auto kept = std::make_shared<json>(std::move(args));
  gate.owner_of(*pid, [&io, &gate, &op, caller = std::move(caller), kept, responder,
                       pid = *pid](Result<ProcessOwner> owner) {
    boost::asio::post(io, [&gate, &op, caller, kept, responder, pid, owner = std::move(owner)] {
      if (responder->cancelled()) return;
      if (!owner) return responder->error(owner.error());
      if (!may_signal(*caller, *owner))
        return responder->error(Error(ErrorCode::kDenied, pid + ": not your process"));
      call_handler(gate, op, caller, std::move(*kept), responder);
    });
  });
}

}  // namespace ssi
