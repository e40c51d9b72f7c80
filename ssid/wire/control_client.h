// How a command asks ssid: one request on the control socket, its replies, the end. Blocking.
//
//     SSI_ASSIGN(auto client, ControlClient::connect());
//     SSI_ASSIGN(auto answer, client.call("cluster.status", {}));
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/api_message.h"

namespace ssi {

inline constexpr const char* kControlSocketPath = "/run/ssid/ssid.sock";

// Owned by a command's main(), one thread. What may go wrong: ssid does not run or dies (the
// message says which), or answers an error, whose code and words come through as they are.
class ControlClient {
 public:
  // The path is $SSID_SOCKET if that is set and the default is asked for (for labs and tests).
  static Result<ControlClient> connect(std::string path = "");

  // timeout_ms: silence from ssid until the next reply; 0: for ever (an op that waits or follows).
  Result<nlohmann::json> call(const std::string& op, const nlohmann::json& args,
                              std::int64_t timeout_ms = 60'000);
  // As call, but gives the replies before the last one to `part` as they come. `part` returns false
  // to stop: then the connection is closed and the result is JSON null.
  Result<nlohmann::json> stream(const std::string& op, const nlohmann::json& args,
                                const std::function<bool(const nlohmann::json&)>& part,
                                std::int64_t timeout_ms = 0);

  // What ssid said about its last error beyond the words: an object, or null.
  nlohmann::json error_details() const;

 private:
  explicit ControlClient(UniqueFd fd) : fd_(std::move(fd)), reader_(kApiReplyLimits) {}
  Result<ApiReply> next_reply(std::int64_t timeout_ms);

  UniqueFd fd_;
  FrameReader reader_;
  std::string error_details_;
};

}  // namespace ssi
