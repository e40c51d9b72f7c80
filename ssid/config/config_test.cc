#include "ssid/config/config.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "ssid/base/log.h"
#include "ssid/config/config_keys.h"

using namespace ssi;

namespace {

std::string why(std::string_view text) {
  auto config = parse_config(text, "ssid.toml");
  REQUIRE(!config.ok());
  CHECK(config.error().code() == ErrorCode::kUsage);
  CHECK(config.error().message().find('\n') == std::string::npos);
  return config.error().message();
}

}  // namespace

TEST_CASE("an empty or missing file means the defaults") {
  auto config = parse_config("", "ssid.toml");
  REQUIRE(config.ok());
  CHECK(config->socket == "/run/ssid/ssid.sock");
  CHECK(config->link.port == 7788);
  CHECK(read_config("/nonexistent/ssid.toml").ok());
}

TEST_CASE("every kind of key is read") {
  auto config = parse_config(
      "log_level = \"debug\"\n"
      "[cluster]\ngrace_s = 2\n"
      "[link]\nport = 9000\naddress = \"10.0.0.1\"\n"
      "[move]\nout_max = 2\ncriu = \"/opt/criu\"\n"
      "[loadlevel]\non = false\nresidence_s = 7.5\nmoves_per_tick = 1\n",
      "ssid.toml");
  REQUIRE(config.ok());
  CHECK(config->log_level == "debug");
  CHECK(config->cluster.grace_s == 2);
  CHECK(config->link.port == 9000);
  CHECK(config->link.address == "10.0.0.1");
  CHECK(config->move.out_max == 2);
  CHECK(config->move.criu == "/opt/criu");
  CHECK(!config->loadlevel.on);
  CHECK(config->loadlevel.policy.residence_s == 7.5);
  CHECK(config->loadlevel.policy.moves_per_tick == 1);
}

TEST_CASE("an unknown key is one line with file, line and the key that is near") {
  CHECK(why("\n\nloglevel = 1\n") ==
        "ssid.toml:3: unknown key \"loglevel\"; did you mean \"log_level\"?");
  CHECK(why("[link]\nprot = 1\n") ==
        "ssid.toml:2: unknown key \"prot\" in [link]; did you mean \"port\"?");
  CHECK(why("[loadlevel]\nresidence = 1\n") ==
        "ssid.toml:2: unknown key \"residence\" in [loadlevel]; did you mean \"residence_s\"?");
  CHECK(why("colour = 1\n") == "ssid.toml:1: unknown key \"colour\"");
  CHECK(why("[lonk]\n") == "ssid.toml:1: unknown section [lonk]; did you mean \"link\"?");
  CHECK(why("[[link]]\nport = 1\n").starts_with("ssid.toml:1: \"link\" is a section"));
}

TEST_CASE("a value that does not fit says what would") {
  CHECK(why("log_level = 3\n") == "ssid.toml:1: \"log_level\" must be a text in quotes");
  CHECK(why("log_level = \"loud\"\n") ==
        "ssid.toml:1: \"log_level\" must be debug, info, warning or error");
  CHECK(why("socket = \"here\"\n") == "ssid.toml:1: \"socket\" must be an absolute path");
  CHECK(why("[link]\nport = 70000\n") ==
        "ssid.toml:2: \"port\" must be a whole number from 1 to 65535");
  CHECK(why("[link]\nport = 1.5\n") ==
        "ssid.toml:2: \"port\" must be a whole number from 1 to 65535");
  CHECK(why("[cluster]\ngrace_s = nan\n") ==
        "ssid.toml:2: \"grace_s\" must be a number from 0 to 3600");
  CHECK(why("[loadlevel]\non = \"yes\"\n") == "ssid.toml:2: \"on\" must be true or false");
  CHECK(why("[loadlevel]\nmin_demand = 7\n").starts_with("ssid.toml:2: "));
  CHECK(why("[loadlevel]\nmin_demand = true\n") == "ssid.toml:2: \"min_demand\" must be a number");
}

TEST_CASE("the log levels that the file may name are those that there are") {
  for (const char* level : {"debug", "info", "warning", "error"}) {
    CHECK(parse_config("log_level = \"" + std::string(level) + "\"", "ssid.toml").ok());
    CHECK(parse_log_level(level).ok());
  }
  for (const char* level : {"trace", "warn", "INFO", ""}) {
    CHECK_FALSE(parse_config("log_level = \"" + std::string(level) + "\"", "ssid.toml").ok());
    CHECK_FALSE(parse_log_level(level).ok());
  }
}

TEST_CASE("what is no TOML is one line too") {
  CHECK(why("log_level = \n").starts_with("ssid.toml:1: "));
  CHECK(why("\n[link\n").starts_with("ssid.toml:2: "));
}

TEST_CASE("the documented defaults are the defaults") {
  // Without the comment marks before keys, it is a file with every key.
  std::string text = default_config_text();
  REQUIRE(parse_config(text, "defaults").ok());
  for (const ConfigKey& key : config_keys()) {
    const std::string marked = "\n#" + std::string(key.name) + " = ";
    const auto at = text.find(marked);
    REQUIRE(at != std::string::npos);
    text.erase(at + 1, 1);
  }
  for (const PolicyKey& key : policy_keys()) {
    const auto at = text.find("\n#" + std::string(key.name) + " = ");
    REQUIRE(at != std::string::npos);
    text.erase(at + 1, 1);
  }
  auto config = parse_config(text, "defaults");
  CAPTURE(text);
  REQUIRE(config.ok());
  CHECK(config->move.timeout_s == Config{}.move.timeout_s);
}

TEST_CASE("a file that can't be read is an error") {
  CHECK(!read_config("/proc/self/mem").ok());
  CHECK(!read_config("/").ok());
}

TEST_CASE("damaged files never crash it") {
  const std::string good = default_config_text();
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string text = good.substr(random() % 400, random() % 800);
    for (int c = 0; c < 4; ++c) {
      if (!text.empty()) text[random() % text.size()] = static_cast<char>(random());
    }
    (void)parse_config(text, "ssid.toml").ok();
  }
}
