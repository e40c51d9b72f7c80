// Requests and replies of the control socket, as bytes and back. Pure; verified before use; fuzzed.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/wire/frame.h"

namespace ssi {

inline constexpr std::uint16_t kApiVersion = 1;
inline constexpr std::uint16_t kApiRequestFrame = 0x100;
inline constexpr std::uint16_t kApiReplyFrame = 0x101;
inline constexpr std::uint32_t kApiRequestBytesMax = 64 << 10;
inline constexpr std::uint32_t kApiReplyBytesMax = 16 << 20;
// What each side accepts.
inline constexpr FrameLimit kApiRequestLimits[] = {
    {.type = kApiRequestFrame, .bytes_max = kApiRequestBytesMax}};
inline constexpr FrameLimit kApiReplyLimits[] = {
    {.type = kApiReplyFrame, .bytes_max = kApiReplyBytesMax}};

struct ApiRequest {
  std::string op;
  std::string args_json;
  bool operator==(const ApiRequest&) const = default;
};

// Op `runon`: sent to the process when its move is over, well or not: nothing to a program that
// does not expect it, and one that is stopped stays so.
inline constexpr int kLookAgainSignal = SIGWINCH;

// Numbers of ErrorCode on the wire, fixed for ever.
enum class ApiCode : std::uint16_t {
  kDone = 0,
  kFailed = 1,
  kGone = 2,
  kRefused = 3,
  kDenied = 4,
  kNoQuorum = 5,
  kUsage = 6,
  kTimeout = 7,
  kBusy = 8,
};
ApiCode api_code(ErrorCode code);
// A number this version does not know is kFailed.
ErrorCode error_code_of(ApiCode code);
// "done", "failed", "gone", "refused", "denied", "no_quorum", "usage", "timeout", "busy": for
// --json.
std::string_view api_code_name(ApiCode code);

struct ApiReply {
  ApiCode code = ApiCode::kDone;
  std::string error;
  std::string json;
  bool more = false;
  bool operator==(const ApiReply&) const = default;
};

// Payloads of frames. A reply that would be too long becomes an error that says so.
std::vector<std::byte> encode(const ApiRequest& request);
std::vector<std::byte> encode(const ApiReply& reply);
Result<ApiRequest> decode_request(std::span<const std::byte> payload);
Result<ApiReply> decode_reply(std::span<const std::byte> payload);

}  // namespace ssi
