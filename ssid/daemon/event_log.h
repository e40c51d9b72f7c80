// What happened lately (`cluster events`), and those who watch it as it happens (`cluster events
// -f`).
//
// Owned by the daemon; control loop only. Keeps 200 events.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ssid/api/op_table.h"

namespace ssi {

// Milliseconds since 1970.
std::int64_t wall_clock_ms();

class EventLog {
 public:
  explicit EventLog(std::function<std::int64_t()> now_ms = wall_clock_ms)
      : now_ms_(std::move(now_ms)) {}

  // `details` are the event's fields beside `text` and `time_ms`: docs/control-socket.md.
  void add(const std::string& text, const nlohmann::json& details);
  void follow(std::shared_ptr<Responder> watcher);
  nlohmann::json recent() const;  // the oldest first

 private:
  std::function<std::int64_t()> now_ms_;
  std::deque<nlohmann::json> recent_;
  std::vector<std::shared_ptr<Responder>> watchers_;
};

}  // namespace ssi
