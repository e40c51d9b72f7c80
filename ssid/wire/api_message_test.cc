#include "ssid/wire/api_message.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

namespace ssi {

TEST_CASE("a request and a reply come back as they went") {
  const ApiRequest request{.op = "migrate", .args_json = R"({"pid":70041,"to":"best"})"};
  CHECK(decode_request(encode(request)).value() == request);
  const ApiReply reply{.code = ApiCode::kRefused, .error = "x: y", .json = "{}", .more = true};
  CHECK(decode_reply(encode(reply)).value() == reply);
  CHECK(!decode_reply(encode(request)).ok());
  CHECK(!decode_request(encode(reply)).ok());
}

TEST_CASE("every error code survives the wire, an unknown one is a failure") {
  for (auto code : {ErrorCode::kFailed, ErrorCode::kGone, ErrorCode::kRefused, ErrorCode::kDenied,
                    ErrorCode::kNoQuorum, ErrorCode::kUsage, ErrorCode::kTimeout})
    CHECK(error_code_of(api_code(code)) == code);
  CHECK(error_code_of(static_cast<ApiCode>(999)) == ErrorCode::kFailed);
}

TEST_CASE("an answer that does not fit becomes an error") {
  const ApiReply reply{
      .code = ApiCode::kDone, .error = "", .json = std::string(17 << 20, 'x'), .more = false};
  const auto bytes = encode(reply);
  CHECK(bytes.size() < 1000);
  CHECK(decode_reply(bytes).value().error == "the answer is too long");
}

TEST_CASE("bytes that are no message are refused") {
  CHECK(!decode_request({}).ok());
  CHECK(!decode_request(bytes_of("SAPI")).ok());
  CHECK(!decode_request(bytes_of("{\"op\":\"migrate\"}")).ok());
  CHECK(!decode_request(std::vector<std::byte>(100)).ok());
}

// Every cut, and random changes, of good messages. Repeat with SSID_FUZZ_SEED=N SSID_FUZZ_ROUNDS=1.
TEST_CASE("no mutation of a message makes the decoder read outside it") {
  const char* given = std::getenv("SSID_FUZZ_SEED");
  const char* count = std::getenv("SSID_FUZZ_ROUNDS");
  const unsigned first = given == nullptr ? 1u : static_cast<unsigned>(std::atoi(given));
  const int rounds = count == nullptr ? 50'000 : std::atoi(count);
  std::printf("api fuzz: SSID_FUZZ_SEED=%u SSID_FUZZ_ROUNDS=%d\n", first, rounds);
  const std::vector<std::byte> good[] = {
      encode(ApiRequest{.op = "loadlevel.enable", .args_json = R"({"pid":"1:345"})"}),
      encode(ApiReply{.code = ApiCode::kGone, .error = "gone", .json = "[1,2,3]", .more = true})};
  for (const auto& message : good)
    for (std::size_t n = 0; n < message.size(); ++n) {
      // Exactly as long as it is, so that the sanitizer sees a byte too far.
      const std::vector<std::byte> cut(message.begin(),
                                       message.begin() + static_cast<std::ptrdiff_t>(n));
      (void)decode_request(cut).ok();
      (void)decode_reply(cut).ok();
    }
  for (unsigned seed = first; seed < first + static_cast<unsigned>(rounds); ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::vector<std::byte> message = good[random() % 2];
    for (unsigned i = 1 + random() % 4; i > 0; --i) {
      std::byte& at = message[random() % message.size()];
      if (random() % 2 == 0)
        at ^= static_cast<std::byte>(1u << (random() % 8));
      else
        at = static_cast<std::byte>(random() & 0xff);
    }
    if (random() % 4 == 0) message.resize(random() % message.size());
    message.shrink_to_fit();
    auto request = decode_request(message);
    if (request) REQUIRE(request->op.size() + request->args_json.size() <= 2 * message.size());
    auto reply = decode_reply(message);
    if (reply) REQUIRE(reply->error.size() + reply->json.size() <= 2 * message.size());
  }
}

}  // namespace ssi
