// What a daemon says to its operator: one line each, on stderr. Libraries return errors instead;
// the place that decides what to do about one logs it, once.
//
//   log_start("ssid", LogLevel::kInfo);
//   log_info("node {} is up, {} guests", node.value, guests);
//
// Thread-safe. Line breaks and control characters in a message are shown as '?', so that what a
// peer or a program put into it can't forge a line. Under systemd (stderr is the journal) a line
// begins with the journal's <N> priority instead of the time.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Names the program at the start of each line. Before it is called, warnings and errors are shown
// as of "ssid". May be called again.
void log_start(std::string_view program, LogLevel level);
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
// As parse_log_level() takes them.
inline constexpr std::string_view kLogLevelNames = "debug, info, warning or error";
// kUsage: it is none of these.
Result<LogLevel> parse_log_level(std::string_view name);

void log_line(LogLevel level, std::string_view message);

// Takes the lines instead of stderr, after the level was checked; an empty function undoes it. For
// tests.
using LogSink = std::function<void(LogLevel, std::string_view message)>;
void set_log_sink(LogSink sink);

// Pure: what a message looks like once it is safe to be one line.
std::string one_line(std::string_view message);

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug))
    log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kInfo))
    log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kWarning))
    log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace ssi
