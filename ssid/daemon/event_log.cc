#include "ssid/daemon/event_log.h"

#include <chrono>

namespace ssi {
using nlohmann::json;

namespace {
constexpr std::size_t kRecentMax = 200;
}

std::int64_t wall_clock_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void EventLog::add(const std::string& text, const json& details) {
  json event = details;
  event["text"] = text;
  event["time_ms"] = now_ms_();
  recent_.push_back(event);
  if (recent_.size() > kRecentMax) recent_.pop_front();
  std::erase_if(watchers_, [&](const auto& w) { return !w->more(event); });
}

void EventLog::follow(std::shared_ptr<Responder> watcher) {
  watchers_.push_back(std::move(watcher));
}

json EventLog::recent() const { return recent_; }

}  // namespace ssi
