#include "ssid/base/timer_slack.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string>

#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

UniqueFd open_slack(pid_t thread, int flags) {
  const std::string path = "/proc/" + std::to_string(thread) + "/timerslack_ns";
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

}  // namespace

std::optional<std::uint64_t> timer_slack_ns(pid_t thread) {
  const UniqueFd fd = open_slack(thread, O_RDONLY);
  char text[32];
  const ssize_t size = fd ? ::read(*fd, text, sizeof text) : -1;
  std::uint64_t ns = 0;
  if (size <= 0 || std::from_chars(text, text + size, ns).ec != std::errc{}) return {};
  return ns;
}

bool set_timer_slack_ns(pid_t thread, std::uint64_t ns) {
  const UniqueFd fd = open_slack(thread, O_WRONLY);
  const std::string text = std::to_string(ns);
  return fd && ::write(*fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace ssi
