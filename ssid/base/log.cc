#include "ssid/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace ssi {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// systemd sets JOURNAL_STREAM to device:inode of the stderr it gave us; a redirected stderr
// differs.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &st) == 0 &&
         stream == std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
}

// The journal's priority of a line: <7> debug .. <3> error.
class JournalPriority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string_view priority = "<6>";
    if (msg.level <= spdlog::level::debug) priority = "<7>";
    if (msg.level == spdlog::level::warn) priority = "<4>";
    if (msg.level >= spdlog::level::err) priority = "<3>";
    out.append(priority.data(), priority.data() + priority.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<JournalPriority>();
  }
};

std::shared_ptr<spdlog::logger> make_logger(std::string_view program, LogLevel level) {
  auto made = std::make_shared<spdlog::logger>(std::string(program),
                                               std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JournalPriority>('*').set_pattern(
      stderr_is_journal() ? "%*%v" : "%Y-%m-%dT%H:%M:%S.%e%z %n %l: %v");
  made->set_formatter(std::move(formatter));
  made->set_level(to_spdlog(level));
  made->flush_on(spdlog::level::trace);
  return made;
}

// The process's one log: stderr is one per process too. Not destroyed, threads may log while it
// ends.
struct Log {
  std::shared_mutex mutex;
  std::shared_ptr<spdlog::logger> logger = make_logger("ssid", LogLevel::kWarning);
  LogSink sink;
};
Log& the_log() {
  static Log* log = new Log;
  return *log;
}

}  // namespace

void log_start(std::string_view program, LogLevel level) {
  auto made = make_logger(program, level);
  Log& log = the_log();
  std::unique_lock lock(log.mutex);
  log.logger = std::move(made);
}

void set_log_level(LogLevel level) {
  Log& log = the_log();
  std::unique_lock lock(log.mutex);
  log.logger->set_level(to_spdlog(level));
}

bool log_enabled(LogLevel level) {
  Log& log = the_log();
  std::shared_lock lock(log.mutex);
  return log.logger->should_log(to_spdlog(level));
}

Result<LogLevel> parse_log_level(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return Error(ErrorCode::kUsage, "'" + std::string(name) + "' is not a log level (" +
                                      std::string(kLogLevelNames) + ")");
}

void set_log_sink(LogSink sink) {
  Log& log = the_log();
  std::unique_lock lock(log.mutex);
  log.sink = std::move(sink);
}

std::string one_line(std::string_view message) {
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string line(message);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = c == '\t' ? ' ' : '?';
  return line;
}

void log_line(LogLevel level, std::string_view message) {
  Log& log = the_log();
  std::shared_ptr<spdlog::logger> logger;
  LogSink sink;
  {
    std::shared_lock lock(log.mutex);
    if (!log.logger->should_log(to_spdlog(level))) return;
    logger = log.logger;
    sink = log.sink;
  }
  const std::string line = one_line(message);
  if (sink) return sink(level, line);
  logger->log(to_spdlog(level), "{}", line);
}

}  // namespace ssi
