#include "ssid/carrier/options.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <vector>

using namespace ssi;

namespace {

struct Settings {
  std::string dir = "/tmp/ssid-options-XXXXXX";
  std::string path;

  explicit Settings(const std::string& text) {
    REQUIRE(::mkdtemp(dir.data()) != nullptr);
    path = dir + "/ssid.toml";
    std::ofstream(path) << text;
  }
  ~Settings() { std::filesystem::remove_all(dir); }
};

std::optional<CarrierOptions> parse(std::vector<std::string> words, int& status) {
  words.insert(words.begin(), "ssid-carrier");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  return parse_carrier_options(static_cast<int>(argv.size()), argv.data(), status);
}

}  // namespace

TEST_CASE("the carrier reads the port, the address and the key where ssid reads them") {
  const Settings file(
      "log_level = \"warning\"\n[cluster]\nkey_file = \"/etc/key\"\n"
      "[link]\naddress = \"10.0.0.1\"\ncarrier_port = 9789\n");
  int status = 0;
  const auto options = parse({"--config", file.path, "--node", "2"}, status);
  REQUIRE(options);
  CHECK(options->node.value == 2);
  CHECK(options->port == 9789);
  CHECK(options->address == "10.0.0.1");
  CHECK(options->key_file == "/etc/key");
  CHECK(options->log_level == LogLevel::kWarning);
}

TEST_CASE("the command line is stronger than the file") {
  const Settings file("[link]\naddress = \"10.0.0.1\"\ncarrier_port = 9789\n");
  int status = 0;
  const auto options = parse(
      {"--config", file.path, "--node", "2", "--port", "9790", "--address", "", "--force"}, status);
  REQUIRE(options);
  CHECK(options->port == 9790);
  CHECK(options->address.empty());
  CHECK(options->key_file == "/etc/corosync/authkey");
  CHECK(options->force);
}

TEST_CASE("wrong settings end it with 2, a missing file means the defaults") {
  const Settings file("[link]\ncarrier_prot = 9789\n");
  int status = 0;
  CHECK_FALSE(parse({"--config", file.path, "--node", "2"}, status));
  CHECK(status == 2);
  const auto options = parse({"--config", file.dir + "/none", "--node", "2"}, status);
  REQUIRE(options);
  CHECK(options->port == kCarrierPort);
  CHECK_FALSE(parse({"--node", "0"}, status));
  CHECK(status == 2);
}
