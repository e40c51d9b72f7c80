#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "ssid/daemon/config/config.h"

namespace ssi {

// SSID_UPDATE=1 packaging_tests writes the file anew.
TEST_CASE("the installed ssid.toml shows every key with its default") {
  const std::string path = SSID_PACKAGING_DIR "/ssid.toml";
  if (std::getenv("SSID_UPDATE") != nullptr) std::ofstream(path) << default_config_text();
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == default_config_text());
}

}  // namespace ssi
