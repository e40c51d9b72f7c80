#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <variant>
#include <vector>

#include "ssid/config/config.h"
#include "ssid/config/config_keys.h"

namespace ssi {
namespace {

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// " (1 to 64)", " (0 or more)": what a number may be.
std::string range_text(double least, double most) {
  std::ostringstream text;
  text << " (" << least;
  if (most < 1e6) {
    text << " to " << most << ")";
  } else {
    text << " or more)";
  }
  return text.str();
}

}  // namespace

// SSID_UPDATE=1 packaging_tests writes the file anew.
TEST_CASE("the installed ssid.toml shows every key with its default") {
  const std::string path = SSID_PACKAGING_DIR "/ssid.toml";
  if (std::getenv("SSID_UPDATE") != nullptr) std::ofstream(path) << default_config_text();
  CHECK(read_text(path) == default_config_text());
}

TEST_CASE("ssid.toml(5) explains every key, with its default and range, and no other") {
  std::map<std::string, std::string> ranges;
  for (const ConfigKey& key : config_keys()) {
    const bool number =
        !std::holds_alternative<TextOf>(key.value) && !std::holds_alternative<FlagOf>(key.value);
    ranges[std::string(key.name)] = number ? range_text(key.least, key.most) : "";
  }
  for (const PolicyKey& key : policy_keys())
    ranges[std::string(key.name)] = range_text(key.least, key.most);

  // Sections and keys in the order of the file: "[link]", "*port* = 7788 (1 to 65535)".
  std::vector<std::string> expected, explained;
  std::smatch match;
  std::istringstream file(read_text(SSID_PACKAGING_DIR "/ssid.toml"));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('[')) expected.push_back(line);
    if (std::regex_match(line, match, std::regex("#([a-z0-9_]+) = (.*)")))
      expected.push_back("*" + match.str(1) + "* = " + match.str(2) + ranges[match.str(1)]);
  }
  std::istringstream page(read_text(SSID_MAN_DIR "/ssid.toml.5.scd"));
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("# [")) explained.push_back(line.substr(2));
    if (line.starts_with('*') && line.find("* = ") != std::string::npos) explained.push_back(line);
  }
  CHECK(expected.size() > config_keys().size());
  for (const std::string& line : expected)
    CHECK_MESSAGE(std::ranges::count(explained, line) == 1, "missing: " << line);
  for (const std::string& line : explained)
    CHECK_MESSAGE(std::ranges::count(expected, line) == 1, "not so: " << line);
  CHECK((explained == expected));  // the order too
}

}  // namespace ssi
