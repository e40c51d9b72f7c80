#include "ssid/wire/api_message.h"

#include <flatbuffers/flatbuffers.h>

#include <iterator>

#include "ssid/wire/api_generated.h"

namespace ssi {
namespace {

std::vector<std::byte> finish(flatbuffers::FlatBufferBuilder& builder,
                              flatbuffers::Offset<fbs::ApiMessage> message) {
  fbs::FinishApiMessageBuffer(builder, message);
  const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  return {bytes.begin(), bytes.end()};
}

// The only way in: nothing is read from a buffer that the verifier has not gone through.
Result<const fbs::ApiMessage*> verified(std::span<const std::byte> payload) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(payload.data());
  // Shorter than a root offset and the identifier: the check of the identifier would read beyond
  // it.
  if (payload.size() < 8) return Error("message too short");
  flatbuffers::Verifier verifier(bytes, payload.size(), /*max_depth=*/8, /*max_tables=*/8);
  if (!fbs::VerifyApiMessageBuffer(verifier)) return Error("malformed message");
  return fbs::GetApiMessage(bytes);
}

std::string text_or_empty(const flatbuffers::String* text) {
  return text == nullptr ? std::string() : text->str();
}

}  // namespace

ApiCode api_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed:
      return ApiCode::kFailed;
    case ErrorCode::kGone:
      return ApiCode::kGone;
    case ErrorCode::kRefused:
      return ApiCode::kRefused;
    case ErrorCode::kDenied:
      return ApiCode::kDenied;
    case ErrorCode::kNoQuorum:
      return ApiCode::kNoQuorum;
    case ErrorCode::kUsage:
      return ApiCode::kUsage;
    case ErrorCode::kTimeout:
      return ApiCode::kTimeout;
    case ErrorCode::kBusy:
      return ApiCode::kBusy;
  }
  return ApiCode::kFailed;
}

ErrorCode error_code_of(ApiCode code) {
  switch (code) {
    case ApiCode::kGone:
      return ErrorCode::kGone;
    case ApiCode::kRefused:
      return ErrorCode::kRefused;
    case ApiCode::kDenied:
      return ErrorCode::kDenied;
    case ApiCode::kNoQuorum:
      return ErrorCode::kNoQuorum;
    case ApiCode::kUsage:
      return ErrorCode::kUsage;
    case ApiCode::kTimeout:
      return ErrorCode::kTimeout;
    case ApiCode::kBusy:
      return ErrorCode::kBusy;
    case ApiCode::kDone:
    case ApiCode::kFailed:
      break;
  }
  return ErrorCode::kFailed;
}

std::string_view api_code_name(ApiCode code) {
  constexpr std::string_view kNames[] = {"done",      "failed", "gone",    "refused", "denied",
                                         "no_quorum", "usage",  "timeout", "busy"};
  const auto at = static_cast<std::size_t>(code);
  return at < std::size(kNames) ? kNames[at] : "failed";
}

std::vector<std::byte> encode(const ApiRequest& request) {
  flatbuffers::FlatBufferBuilder builder(request.args_json.size() + 128);
  const auto op = builder.CreateString(request.op);
  const auto args = builder.CreateString(request.args_json);
  const auto body = fbs::CreateApiRequest(builder, kApiVersion, op, args);
  return finish(builder, fbs::CreateApiMessage(builder, fbs::ApiBody::ApiRequest, body.Union()));
}

std::vector<std::byte> encode(const ApiReply& reply) {
  if (reply.json.size() + reply.error.size() + 256 > kApiReplyBytesMax)
    return encode(ApiReply{
        .code = ApiCode::kFailed, .error = "the answer is too long", .json = "", .more = false});
  flatbuffers::FlatBufferBuilder builder(reply.json.size() + reply.error.size() + 128);
  const auto error = builder.CreateString(reply.error);
  const auto json = builder.CreateString(reply.json);
  const auto body =
      fbs::CreateApiReply(builder, static_cast<std::uint16_t>(reply.code), error, json, reply.more);
  return finish(builder, fbs::CreateApiMessage(builder, fbs::ApiBody::ApiReply, body.Union()));
}

Result<ApiRequest> decode_request(std::span<const std::byte> payload) {
  SSI_ASSIGN(const auto* message, verified(payload));
  const auto* request = message->body_as_ApiRequest();
  if (request == nullptr) return Error("not a request");
  if (request->version() != kApiVersion)
    return Error("request of version " + std::to_string(request->version()) + ", this is version " +
                 std::to_string(kApiVersion));
  return ApiRequest{.op = text_or_empty(request->op()),
                    .args_json = text_or_empty(request->args_json())};
}

Result<ApiReply> decode_reply(std::span<const std::byte> payload) {
  SSI_ASSIGN(const auto* message, verified(payload));
  const auto* reply = message->body_as_ApiReply();
  if (reply == nullptr) return Error("not a reply");
  return ApiReply{.code = static_cast<ApiCode>(reply->code()),
                  .error = text_or_empty(reply->error()),
                  .json = text_or_empty(reply->json()),
                  .more = reply->more()};
}

}  // namespace ssi
