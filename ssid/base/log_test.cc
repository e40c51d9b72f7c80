#include "ssid/base/log.h"

#include <doctest/doctest.h>

#include <vector>

#include "ssid/base/clock.h"

namespace ssi {

TEST_CASE("a message is one line whatever is in it") {
  CHECK(one_line("plain") == "plain");
  CHECK(one_line("ends with one\n") == "ends with one");
  CHECK(one_line("a\nssid error: forged\r\x1b[2J\tb") == "a?ssid error: forged??[2J b");
}

TEST_CASE("lines below the level are not shown") {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  log_start("test", LogLevel::kInfo);
  log_debug("no {}", 1);
  log_info("yes {}", 2);
  set_log_level(LogLevel::kError);
  log_warning("no {}", 3);
  log_error("yes {}", "4\n5");
  set_log_sink({});
  log_start("test", LogLevel::kWarning);
  CHECK(lines == std::vector<std::string>{"yes 2", "yes 4?5"});
  CHECK(parse_log_level("warning").value() == LogLevel::kWarning);
  CHECK(!parse_log_level("loud").ok());
}

TEST_CASE("a manual clock stands until it is moved, the machine's goes on") {
  ManualClock manual(5);
  CHECK(manual.now_us() == 5);
  manual.advance_ms(3);
  CHECK(manual.now_us() == 3005);
  CHECK(manual.now_ms() == 3);
  SystemClock system;
  const auto before = system.now_us();
  CHECK(before > 0);
  CHECK(system.now_us() >= before);
}

}  // namespace ssi
