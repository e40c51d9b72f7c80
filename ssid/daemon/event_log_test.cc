#include "ssid/daemon/event_log.h"

#include <doctest/doctest.h>

namespace ssi {
namespace {

using nlohmann::json;

// Takes `room` events, then hangs up.
struct Watcher : Responder {
  std::vector<json> seen;
  std::size_t room = 2;

  bool more(const json& part) override {
    if (seen.size() == room) return false;
    seen.push_back(part);
    return true;
  }
  void reply(const json&) override {}
  void error(const Error&) override {}
  void error(const Error&, const json&) override {}
  bool cancelled() const override { return false; }
  void on_cancel(std::function<void()>) override {}
};

}  // namespace

TEST_CASE("an event says when it happened, to who asks later and to who watches") {
  std::int64_t now_ms = 1795323600999;
  EventLog log([&] { return now_ms; });
  auto watcher = std::make_shared<Watcher>();
  log.follow(watcher);
  log.add("node 2 joined", {{"joined", 2}});
  now_ms += 1;
  log.add("node 2 left", {{"left", 2}});
  const json joined = {{"joined", 2}, {"text", "node 2 joined"}, {"time_ms", 1795323600999}};
  const json left = {{"left", 2}, {"text", "node 2 left"}, {"time_ms", 1795323601000}};
  CHECK(log.recent() == json{joined, left});
  CHECK(watcher->seen == std::vector<json>{joined, left});
  CHECK(watcher.use_count() == 2);
  log.add("node 2 joined", {{"joined", 2}});
  CHECK(watcher.use_count() == 1);  // it had hung up
}

TEST_CASE("the last 200 events are kept") {
  EventLog log;
  for (int i = 0; i < 201; ++i) log.add(std::to_string(i), json::object());
  const json recent = log.recent();
  REQUIRE(recent.size() == 200);
  CHECK(recent.front()["text"] == "1");
  CHECK(recent.back()["text"] == "200");
  CHECK(recent.back()["time_ms"].get<std::int64_t>() > 1'700'000'000'000);
}

}  // namespace ssi
