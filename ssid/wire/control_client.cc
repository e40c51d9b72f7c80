#include "ssid/wire/control_client.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "ssid/wire/unix_socket.h"

namespace ssi {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::int64_t kSendTimeoutMs = 10'000;

Result<nlohmann::json> parse(const std::string& text) {
  if (text.empty()) return nlohmann::json();
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Error("ssid answered something that is not JSON");
  return json;
}

}  // namespace

Result<ControlClient> ControlClient::connect(std::string path) {
  if (path.empty()) {
    const char* given = std::getenv("SSID_SOCKET");
    path = given != nullptr && *given != 0 ? given : kControlSocketPath;
  }
  auto fd = unix_connect(path, UnixType::kStream);
  if (!fd) {
    const bool absent = fd.error().code() == ErrorCode::kGone;
    return std::move(fd).error().context(absent ? "ssid is not running" : "ssid");
  }
  return ControlClient(std::move(*fd));
}

Result<nlohmann::json> ControlClient::call(const std::string& op, const nlohmann::json& args,
                                           std::int64_t timeout_ms) {
  return stream(
      op, args, [](const nlohmann::json&) { return true; }, timeout_ms);
}

Result<nlohmann::json> ControlClient::stream(const std::string& op, const nlohmann::json& args,
                                             const std::function<bool(const nlohmann::json&)>& part,
                                             std::int64_t timeout_ms) {
  if (!fd_) return Error("the connection to ssid is closed");
  const auto payload = encode(ApiRequest{
      .op = op,
      .args_json = args.is_null()
                       ? "{}"
                       : args.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)});
  if (payload.size() > kApiRequestBytesMax) return Error(ErrorCode::kUsage, "request too long");
  SSI_TRY(unix_send(*fd_, serialise_frame(kApiRequestFrame, payload), {}, kSendTimeoutMs)
              .context("ssid"));
  for (;;) {
    SSI_ASSIGN(const ApiReply reply, next_reply(timeout_ms));
    error_details_ = reply.code == ApiCode::kDone ? "" : reply.json;
    if (reply.code != ApiCode::kDone)
      return Error(error_code_of(reply.code),
                   reply.error.empty() ? "ssid gave no reason" : reply.error);
    SSI_ASSIGN(nlohmann::json json, parse(reply.json));
    if (!reply.more) return json;
    if (part(json)) continue;
    fd_.reset();
    return nlohmann::json();
  }
}

nlohmann::json ControlClient::error_details() const {
  auto details = parse(error_details_);
  return details ? *details : nlohmann::json();
}

Result<ApiReply> ControlClient::next_reply(std::int64_t timeout_ms) {
  for (;;) {
    Frame frame;
    SSI_ASSIGN(const bool whole, reader_.take(frame).context("ssid"));
    if (whole) return decode_reply(frame.payload).context("ssid");
    auto piece = unix_recv(*fd_, kPieceBytes, 0, timeout_ms);
    if (!piece) {
      if (piece.error().code() == ErrorCode::kGone)
        return Error(ErrorCode::kGone, "ssid closed the connection");
      if (piece.error().code() == ErrorCode::kTimeout)
        return Error(ErrorCode::kTimeout, "ssid does not answer");
      return std::move(piece).error();
    }
    reader_.add(piece->bytes);
  }
}

}  // namespace ssi
