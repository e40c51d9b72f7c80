// Runs one op for a caller, whoever brought the request: asks the gate whether it may, then calls
// the handler. What may go wrong is told through the responder.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "ssid/api/op_table.h"

namespace boost::asio {
class io_context;
}

namespace ssi {

// On the loop of `io`; `op` and `gate` must live until the responder has been answered.
void call_op(boost::asio::io_context& io, const OpGate& gate, const Op& op,
             std::shared_ptr<const Caller> caller, nlohmann::json args,
             std::shared_ptr<Responder> responder);

}  // namespace ssi
