#include "ssid/daemon/home_calls.h"

#include <algorithm>

namespace ssi {
namespace {

constexpr int kDoublingsMax = 5;
constexpr int kTriesQuietly = 4;  // a move that is under way, a tree that has just changed

}  // namespace

void HomeCalls::call(SsiPid pid, const std::string& why) {
  if (!handlers_.is_away(pid) || called_.contains(pid)) return;
  called_[pid].timer = std::make_unique<boost::asio::steady_timer>(io_);
  handlers_.tell(pid, "is called home: " + why);
  try_once(pid);
}

void HomeCalls::on_moved() {
  std::erase_if(called_, [this](const auto& called) { return !handlers_.is_away(called.first); });
}

void HomeCalls::try_once(SsiPid pid) {
  if (!handlers_.is_away(pid)) {
    called_.erase(pid);
    return;
  }
  handlers_.move_home(pid, called_[pid].tries > 0,
                      [this, pid](const Result<>& result) { tried(pid, result); });
}

void HomeCalls::tried(SsiPid pid, const Result<>& result) {
  const auto found = called_.find(pid);
  if (found == called_.end()) return;
  Called& called = found->second;
  const bool lasts = ++called.tries >= kTriesQuietly;
  if (!result && lasts && result.error().message() != called.hindrance) {
    called.hindrance = result.error().message();
    handlers_.tell(pid, "does not come home: " + called.hindrance);
  }
  // If it has come, on_moved() takes it away.
  called.timer->expires_after(first_pause_ * (1 << std::min(called.tries - 1, kDoublingsMax)));
  called.timer->async_wait([this, pid](boost::system::error_code ec) {
    if (!ec) try_once(pid);
  });
}

}  // namespace ssi
