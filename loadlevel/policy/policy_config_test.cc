#include "loadlevel/policy/policy_config.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

using namespace ssi;

TEST_CASE("the documentation has every key with its default and meaning") {
  std::ifstream file(SSID_DOCS_DIR "/load-levelling.md");
  std::stringstream text;
  text << file.rdbuf();
  const PolicyConfig defaults;
  for (const auto& key : policy_keys()) {
    std::ostringstream row;
    row << "| `" << key.name << "` | " << defaults.*key.member << " | " << key.meaning << " |";
    CHECK_MESSAGE(text.str().find(row.str()) != std::string::npos, row.str());
  }
}

TEST_CASE("every key can be set within its limits, and its default lies within them") {
  const PolicyConfig defaults;
  std::set<std::string_view> names;
  for (const auto& key : policy_keys()) {
    CAPTURE(key.name);
    CHECK(names.insert(key.name).second);
    CHECK(defaults.*key.member >= key.least);
    CHECK(defaults.*key.member <= key.most);
    PolicyConfig c;
    CHECK(set_policy_key(c, key.name, key.most).ok());
    CHECK(c.*key.member == key.most);
    CHECK_FALSE(set_policy_key(c, key.name, key.most + 1).ok());
    CHECK_FALSE(set_policy_key(c, key.name, key.least - 1).ok());
    CHECK_FALSE(set_policy_key(c, key.name, std::nan("")).ok());
  }
  CHECK(names.size() == sizeof(PolicyConfig) / sizeof(double));
  PolicyConfig c;
  const auto unknown = set_policy_key(c, "min_gian", 1);
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().message() == "loadlevel.min_gian: no such key");
}
