#include "ssid/wire/wait_ready.h"

#include <poll.h>

#include <algorithm>
#include <limits>

#include "ssid/base/clock.h"

namespace ssi {

std::int64_t deadline_in(std::int64_t ms) {
  if (ms <= 0) return std::numeric_limits<std::int64_t>::max();
  return SystemClock().now_ms() + ms;
}

Result<> wait_ready(int fd, short events, std::int64_t deadline_ms) {
  for (;;) {
    int timeout = -1;
    if (deadline_ms != std::numeric_limits<std::int64_t>::max()) {
      const std::int64_t left = deadline_ms - SystemClock().now_ms();
      if (left <= 0) return Error(ErrorCode::kTimeout, "timed out");
      timeout = static_cast<int>(std::min<std::int64_t>(left, 1 << 30));
    }
    pollfd p{.fd = fd, .events = events, .revents = 0};
    const int n = ::poll(&p, 1, timeout);
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return Error::from_errno("poll");
  }
}

}  // namespace ssi
